"""`pdmesh advise`: what a mesh should change, by its own log."""

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from services.cli import configuration
from services.cli.planner.hardware_settings import HardwareSettings
from services.common.domain import Role
from services.common.errors import BadSetting
from services.common.settings import StrictParser, group, setting
from services.planner.advice.advise import Advice, Study
from services.planner.advice.alternative import Alternative
from services.planner.load.trace import read_trace
from services.planner.slo import Slo
from services.planner.timing import times_of
from services.planner.world.fleet import Engine
from services.worker.engine.sim.profiles import find_times

DESCRIPTION = """\
Play a mesh's log on every ratio of as many workers, on aggregated engines, and on other thresholds, and say
what to change: nothing, the ratio, the threshold, or not to disaggregate. Gains have intervals of 90 %."""


@dataclass(frozen=True, slots=True)
class AdviseSettings:
    """The mesh as it is, its log, and its promise."""

    hardware: HardwareSettings = group(HardwareSettings)
    log: str = setting("", "What was asked: a trace as `pdmesh simulate --load trace=FILE` takes it; needed")
    profile: str = setting("", "Step times of all engines: a file that `pdmesh calibrate` wrote, or a name")
    prefill: int = setting(1, "Prefill workers as they are", least=0)
    decode: int = setting(1, "Decode workers as they are", least=1)
    prefill_tp: int = setting(1, "GPUs of a prefill worker", least=1)
    decode_tp: int = setting(1, "GPUs of a decode worker", least=1)
    threshold: int = setting(64, "Prompts up to this many tokens are not handed over, as it is", least=0)
    slo: str = setting("", "Promise, as in ttft_p95=600ms,tpot_p95=40ms; needed")


def parser_of() -> StrictParser:
    """The command's parser, without its settings."""
    parser = StrictParser(prog="pdmesh advise", description=DESCRIPTION)
    parser.add_argument("--json", action="store_true", help="Print the advice as JSON")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print the advice."""
    settings, options = configuration.read(parser_of(), AdviseSettings, "advise", arguments)
    study = study_of(settings)
    with ProcessPoolExecutor(os.cpu_count()) as executor:
        advice = study.run(executor)
    if options["json"]:
        print(json.dumps(advice.to_json()))
    else:
        print("\n".join(lines(advice)))
    return 0


def study_of(settings: AdviseSettings) -> Study:
    """What is to be played; raises `BadSetting` or `ModelMissing`."""
    if not settings.log:
        raise BadSetting("--log is needed: a trace of what was asked")
    if not settings.slo:
        raise BadSetting("--slo is needed, as in ttft_p95=600ms,tpot_p95=40ms")
    slo = Slo.parse(settings.slo)
    requests = read_trace(Path(settings.log).expanduser(), "--log")
    sizes = {Role.PREFILL: settings.prefill_tp, Role.DECODE: settings.decode_tp}
    current = Alternative(settings.prefill, settings.decode, settings.threshold)
    return Study(requests, slo, {role: _engine(settings, size) for role, size in sizes.items()}, current)


def _engine(settings: AdviseSettings, size: int) -> Engine:
    spec = settings.hardware.spec(size, batched_tokens_max=8_192, running_max=256)
    if settings.profile:
        return Engine.of_profile(spec, find_times(settings.profile))
    spec.check()
    return Engine.of(spec, times_of(spec, settings.hardware.coefficients()).times)


def lines(advice: Advice) -> Iterator[str]:
    """For people, the verdict first."""
    yield advice.verdict()
    yield f"by {advice.basis()}"
    yield ""
    yield f"{'fleet':<28}{'attained':>10}{'gain':>9}{'90 % interval':>20}"
    for option in sorted(advice.shares, key=advice.attained, reverse=True):
        gain = advice.gain(option)
        mark = " (as it is)" if option == advice.study.current else ""
        interval = f"{gain.low:+.1%} to {gain.high:+.1%}"
        yield f"{option.label:<28}{advice.attained(option):>10.1%}{gain.mean:>+9.1%}{interval:>20}{mark}"
