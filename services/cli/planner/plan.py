"""`pdmesh plan`: the cheapest fleet that keeps a promise."""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from services.cli import configuration
from services.cli.planner.hardware_settings import HardwareSettings
from services.cli.planner.load_settings import LoadSettings
from services.common.errors import BadSetting
from services.common.settings import StrictParser, group, setting
from services.planner.planning.candidate import Sizes
from services.planner.planning.money import ApiPrice
from services.planner.planning.plan import Plan, Prices
from services.planner.planning.search import Search, front
from services.planner.planning.target import Target
from services.planner.results.plan_screen import plan_screen
from services.planner.slo import milliseconds
from services.planner.timing import times_of
from services.planner.world.link import LinkRates

DESCRIPTION = """\
Find the fleet that keeps a promise with the fewest GPUs: how many of each tier, how many GPUs per worker,
or aggregated engines after all. An estimate narrows, the simulator decides."""
SIZES = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """Model, load, promise, and what things cost."""

    hardware: HardwareSettings = group(HardwareSettings)
    load: LoadSettings = group(LoadSettings)
    gpus_max: int = setting(64, "GPUs at most", least=1)
    tp: tuple[str, ...] = setting((), "GPUs of a worker to try; 1, 2, 4 and 8 where not set")
    batched_tokens: int = setting(8_192, "Tokens of one engine step at most", least=16)
    link_gb_per_s: float = setting(40.0, "Bandwidth of a worker's network card, one way", least=0.001)
    link_latency: str = setting("2ms", "Fixed time of a handoff")
    price: float = setting(-1.0, "Dollars of a GPU hour; a usual price of the GPU where not set")
    overhead: float = setting(0.0, "Dollars an hour beside the GPUs: hosts, network, storage", least=0)
    operations_hours: float = setting(0.0, "Hours of people's work a month", least=0)
    operations_price: float = setting(0.0, "Dollars of such an hour", least=0)
    api_price: str = setting(
        "",
        "Dollars that an API takes for 1M prompt and 1M generated tokens, as in 0.6/0.8: for the break-even",
    )
    seed: int = setting(1, "Seed of everything random", least=0)


def parser_of() -> StrictParser:
    """The command's parser, without its settings."""
    parser = StrictParser(prog="pdmesh plan", description=DESCRIPTION)
    parser.add_argument("--json", action="store_true", help="Print the plan as JSON")
    parser.add_argument("--out", metavar="DIR", help="Write the plan and its plot (PNG and SVG) there")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print the plan; 0, or 1 when the promise cannot be kept."""
    settings, options = configuration.read(parser_of(), PlanSettings, "plan", arguments)
    plan = plan_of(settings)
    if options["out"]:
        write(plan, Path(options["out"]))
    if options["json"]:
        print(json.dumps(plan.to_json()))
    else:
        print("\n".join(plan_screen(plan)))
    return 0 if plan.best is not None else 1


def plan_of(settings: PlanSettings) -> Plan:
    """Search; raises `BadSetting` or `ModelMissing`."""
    slo = settings.load.promise()
    if slo is None:
        raise BadSetting("--slo is needed, as in ttft_p95=600ms,tpot_p95=40ms")
    target = Target(settings.load.read(), slo)
    _, gpu = settings.hardware.model_and_gpu()
    price = settings.price if settings.price >= 0 else gpu.price_per_hour
    prices = Prices(
        price,
        settings.overhead,
        settings.operations_hours,
        settings.operations_price,
        _api_price(settings.api_price),
    )
    link = LinkRates(settings.link_gb_per_s, milliseconds(settings.link_latency, "--link-latency"))
    sizes, notes = sizes_of(settings)
    warm_up_ms = settings.load.warm_up_ms()
    search = Search(sizes, target, settings.gpus_max, link, price, warm_up_ms, settings.seed)
    with ProcessPoolExecutor(os.cpu_count()) as executor:
        judged = search.run(executor)
    return Plan(target, sizes, judged, prices, settings.gpus_max, notes)


def sizes_of(settings: PlanSettings) -> tuple[Sizes, list[str]]:
    """Engines of every size that fits, and what is to be said of their timings."""
    specs = {
        size: settings.hardware.spec(size, batched_tokens_max=settings.batched_tokens, running_max=256)
        for size in _sizes(settings.tp)
    }
    fitting = {size: spec for size, spec in specs.items() if spec.fits}
    if not fitting:
        specs[max(specs)].check()
    timings = {size: times_of(spec, settings.hardware.coefficients()) for size, spec in fitting.items()}
    notes = list(dict.fromkeys(each.note for each in timings.values() if each.note))
    return Sizes(fitting, {size: each.times for size, each in timings.items()}), notes


def write(plan: Plan, directory: Path) -> None:
    """Plan and plot."""
    from services.planner.results.plots import plot_scatter

    edge = front(plan.judged)
    points = [
        (
            plan.costs(each).per_hour,
            each.outcome.tally.attainment,
            each.candidate.label,
            each.candidate in edge,
        )
        for each in plan.judged
    ]
    axes = "dollars an hour", "share of requests within all bounds"
    plot_scatter(points, axes, str(plan.target.slo), directory / "pareto")
    (directory / "plan.json").write_text(json.dumps(plan.to_json(), indent=1) + "\n", "utf-8")


def _sizes(given: Sequence[str]) -> list[int]:
    sizes = []
    for text in given or map(str, SIZES):
        if not text.isdecimal() or int(text) not in SIZES:
            raise BadSetting(f"--tp: {text!r} is none of 1, 2, 4 and 8")
        sizes.append(int(text))
    return sorted(set(sizes))


def _api_price(text: str) -> ApiPrice | None:
    if not text:
        return None
    prompt, separator, output = text.partition("/")
    try:
        if not separator:
            raise ValueError
        price = ApiPrice(float(prompt), float(output))
    except ValueError:
        raise BadSetting(f"--api-price: {text!r}: write PROMPT/GENERATED, as in 0.6/0.8") from None
    if min(price.prompt, price.output) < 0 or not max(price.prompt, price.output) < float("inf"):
        raise BadSetting(f"--api-price: {text!r}: prices are zero or more")
    return price
