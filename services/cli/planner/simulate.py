"""`pdmesh simulate`: what a fleet would do under a load."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.cli import configuration
from services.cli.planner.hardware_settings import HardwareSettings
from services.cli.planner.load_settings import LoadSettings
from services.common.domain import Role
from services.common.errors import BadSetting
from services.common.settings import StrictParser, group, setting
from services.planner.results.screen import screen
from services.planner.scenario import Death, Scenario, Tier, autoscaling, play
from services.planner.slo import milliseconds
from services.planner.timing import times_of
from services.planner.world.fleet import Engine
from services.planner.world.link import LinkRates
from services.planner.world.speculation import Speculation
from services.worker.engine.sim.profiles import find_times

DESCRIPTION = """\
Play a load on a fleet that does not exist: the router's real core, virtual engines with timings measured on
the GPU, virtual time. --prefill 0 is a fleet of aggregated engines, which run prompts in chunks beside
what decodes."""
TENSOR_PARALLEL = (1, 2, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class SimulateSettings:
    """The fleet, the load, and what goes wrong."""

    hardware: HardwareSettings = group(HardwareSettings)
    load: LoadSettings = group(LoadSettings)
    prefill: int = setting(1, "Prefill workers; 0: the decode workers run their prompts themselves", least=0)
    decode: int = setting(1, "Decode workers", least=1)
    prefill_tp: int = setting(1, "GPUs of a prefill worker", least=1)
    decode_tp: int = setting(1, "GPUs of a decode worker", least=1)
    prefill_spares: int = setting(
        0, "Loaded prefill workers without work until the scaler wants them", least=0
    )
    decode_spares: int = setting(0, "The same of decode workers", least=0)
    prefill_max: int = setting(0, "Autoscaling: prefill workers at most; 0: their number stays", least=0)
    decode_max: int = setting(0, "The same of decode workers", least=0)
    profile: str = setting(
        "",
        "Step times of all engines instead of the model's: a file that `pdmesh calibrate` wrote, or a name",
    )
    batched_tokens: int = setting(8_192, "Tokens of one engine step at most", least=16)
    running: int = setting(256, "Sequences that an engine runs at once at most", least=1)
    threshold: int = setting(64, "Prompts up to this many tokens are not handed over", least=0)
    link_gb_per_s: float = setting(40.0, "Bandwidth of a worker's network card, one way", least=0.001)
    link_latency: str = setting("2ms", "Fixed time of a handoff")
    cold_start: str = setting("60s", "From wanting a worker to having it")
    death: tuple[str, ...] = setting((), "A worker dies, as in decode@30s; another comes after --cold-start")
    speculation: str = setting(
        "",
        "Speculative decoding, DRAFTS:ACCEPTANCE: tokens drafted in a step, each one's chance",
    )
    price: float = setting(-1.0, "Dollars of a GPU hour; a usual price of the GPU where not set")
    seed: int = setting(1, "Seed of everything random", least=0)


def parser_of() -> StrictParser:
    """The command's parser, without its settings."""
    parser = StrictParser(prog="pdmesh simulate", description=DESCRIPTION)
    parser.add_argument("--json", action="store_true", help="Print the outcome as JSON")
    parser.add_argument("--out", metavar="DIR", help="Write the outcome and plots (PNG and SVG) there")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print the outcome; 0 even where the promise is missed."""
    settings, options = configuration.read(parser_of(), SimulateSettings, "simulate", arguments)
    scenario, notes = scenario_of(settings)
    for note in notes:
        print(f"pdmesh: {note}", file=sys.stderr)
    outcome = play(scenario)
    found = {"fleet": scenario.label, "gpus": scenario.gpus, "notes": notes, **outcome.to_json()}
    if options["out"]:
        from services.planner.results.plots import plot_outcome

        directory = Path(options["out"])
        plot_outcome(outcome, directory)
        (directory / "outcome.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    if options["json"]:
        print(json.dumps(found))
    else:
        title = f"{scenario.label} of {settings.hardware.model} on {scenario.gpus} x {settings.hardware.gpu}"
        print("\n".join(screen(outcome, title)))
    return 0


def scenario_of(settings: SimulateSettings) -> tuple[Scenario, list[str]]:
    """The run, and what is to be said of its timings; raises `BadSetting` or `ModelMissing`."""
    load, notes = settings.load.read(), []
    tiers: dict[Role, Tier] = {}
    sizes = {Role.PREFILL: settings.prefill_tp, Role.DECODE: settings.decode_tp}
    counts = {Role.PREFILL: settings.prefill, Role.DECODE: settings.decode}
    spares = {Role.PREFILL: settings.prefill_spares, Role.DECODE: settings.decode_spares}
    for role, size in sizes.items():
        if counts[role] or role is Role.DECODE:
            engine, note = _engine(settings, size, role)
            notes += [note] if note and note not in notes else []
            tiers[role] = Tier(engine, counts[role], spares[role])
    _, gpu = settings.hardware.model_and_gpu()
    cold_start_ms = milliseconds(settings.cold_start, "--cold-start")
    scenario = Scenario(
        tiers=tiers,
        source=load.source,
        for_ms=load.for_ms,
        slo=settings.load.promise(),
        warm_up_ms=settings.load.warm_up_ms(),
        local_prompt_tokens_max=settings.threshold,
        link=LinkRates(settings.link_gb_per_s, milliseconds(settings.link_latency, "--link-latency")),
        deaths=tuple(_death(text) for text in settings.death),
        cold_start_ms=cold_start_ms,
        price_per_gpu_hour=settings.price if settings.price >= 0 else gpu.price_per_hour,
        seed=settings.seed,
    )
    most = {Role.PREFILL: settings.prefill_max, Role.DECODE: settings.decode_max}
    if any(most.values()):
        scenario = autoscaling(scenario, most)
    return scenario, notes


def _engine(settings: SimulateSettings, size: int, role: Role) -> tuple[Engine, str]:
    if size not in TENSOR_PARALLEL:
        flag = f"--{role.name.lower()}-tp"
        raise BadSetting(f"{flag}: {size} GPUs cannot share a model evenly: 1, 2, 4, 8 or 16")
    spec = settings.hardware.spec(
        size, batched_tokens_max=settings.batched_tokens, running_max=settings.running
    )
    speculation = Speculation.parse(settings.speculation) if settings.speculation else None
    if settings.profile:
        return Engine.of_profile(spec, find_times(settings.profile), speculation), ""
    spec.check()
    timings = times_of(spec, settings.hardware.coefficients())
    return Engine.of(spec, timings.times, speculation), timings.note


def _death(text: str) -> Death:
    name, separator, at = text.partition("@")
    roles = {role.name.lower(): role for role in (Role.PREFILL, Role.DECODE)}
    if not separator or name not in roles:
        raise BadSetting(f"--death: {text!r}: write prefill@30s or decode@30s")
    return Death(milliseconds(at, "--death"), roles[name])
