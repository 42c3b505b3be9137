"""The page docs/validation.md: `make validate`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from services.planner.hardware.precision import Precision
from services.planner.results.plots import plot_predictions
from services.planner.silicon import Point
from services.planner.timing.host import VLLM
from tests.bench.planner.points import LLAMA, h100_rows, rows_in, rows_of
from tests.bench.planner.predict import REQUESTS_EACH, SEEDS, Predicted, mean_errors, predict
from tests.tidy.source import ROOT

HERE = Path(__file__).parent
PAGE = ROOT / "docs/validation.md"
PLOTS = ROOT / "docs/plots"
SHARE = "{:+.1%}".format
OTHERS = (
    (LLAMA, "h200_sxm", "fp8", Precision.FP8),
    ("Qwen/Qwen3-32B", "h100_sxm", "", Precision.BF16),
    (LLAMA, "b200_sxm", "fp8", Precision.FP8),
    ("nvidia/Llama-3.1-8B-Instruct-FP8", "h200_sxm", "fp8", Precision.BF16),
)
"""Model, GPU, format of the weights, and that of the KV, as far as the rows that run out of it tell."""
REASONS = {
    "h200_sxm": "its prompts' kernels were timed 10 % faster than H100's; the measured engines are equal.",
    "Qwen": "another bench, which does not say how lengths spread and how many requests each client makes. "
    "With 5 instead of 10, TTFT is 25 % off. TPOT, which depends little on it, fits.",
    "b200_sxm": "the kernels were timed under a later vLLM than the engines.",
    "Llama-3.1-8B": "the rows' concurrency is no number of clients: their TTFT is that of an idle engine.",
}


def main(points: Path | None = None) -> None:
    """Write page and plots, or print the errors of another file of points."""
    if points is not None:
        rows = [predict(point, Precision.BF16) for point in rows_in(points)]
        print("\n".join([*table(rows), *summary({"all": rows})]))
        return
    rows = [predict(point) for point in h100_rows()]
    others = {name: [predict(p, kv, seeds=SEEDS[:1]) for p in found] for name, kv, found in _others()}
    plot(rows)
    PAGE.write_text("\n".join([*page(rows, others), ""]), "utf-8")


def _others() -> Iterator[tuple[str, Precision, list[Point]]]:
    for model, system, precision, kv in OTHERS:
        yield f"{model} on {system}, KV {kv.value}", kv, rows_of(model, system, precision)


def plot(rows: Sequence[Predicted]) -> None:
    """Predicted over measured, both times."""
    for name, unit in (("ttft_ms", "ms"), ("tpot_ms", "ms")):
        points = [
            (getattr(row.point, name), getattr(row, name), f"TP {row.point.tensor_parallel}") for row in rows
        ]
        title = f"{name.removesuffix('_ms').upper()}, Llama-3.1-70B FP8 on H100"
        plot_predictions(points, title, unit, PLOTS / f"validation-{name.removesuffix('_ms')}")


def page(rows: Sequence[Predicted], others: dict[str, list[Predicted]]) -> Iterator[str]:
    """The page's lines."""
    head = (HERE / "validation_head.md").read_text("utf-8")
    yield from head.format(host=VLLM, each=REQUESTS_EACH, seeds=len(SEEDS)).splitlines()
    yield from ("", "## Llama-3.1-70B FP8 on H100, vLLM", "")
    groups = {f"TP {size}" + (" (judges)" if size == 8 else " (learnt on)"): [] for size in (2, 4, 8)}
    for row in rows:
        next(
            group for name, group in groups.items() if name.startswith(f"TP {row.point.tensor_parallel}")
        ).append(row)
    yield from summary({**groups, "all": list(rows)})
    yield from ("", "![TTFT](plots/validation-ttft.svg) ![TPOT](plots/validation-tpot.svg)", "")
    yield from table(rows)
    yield from (
        "",
        "## Other models and GPUs, nothing learnt",
        "",
        *(HERE / "validation_others.md").read_text("utf-8").splitlines(),
        "",
    )
    yield from summary(others)
    yield ""
    for key, reason in REASONS.items():
        yield f"- {key}: {reason}"


def summary(groups: dict[str, list[Predicted]]) -> Iterator[str]:
    """One line for each group."""
    yield "| rows | number | TTFT, mean error | TPOT, mean error | ran out of KV | recognised | wrongly |"
    yield "|---|---|---|---|---|---|---|"
    for name, rows in groups.items():
        ttft, tpot = mean_errors(rows)
        out = [row for row in rows if row.ran_out]
        seen = sum(row.is_seen_to_run_out for row in out)
        wrongly = sum(row.is_seen_to_run_out and not row.ran_out for row in rows)
        yield f"| {name} | {len(rows)} | {ttft:.1%} | {tpot:.1%} | {len(out)} | {seen} | {wrongly} |"


def table(rows: Sequence[Predicted]) -> Iterator[str]:
    """One line for each point."""
    yield "| TP | clients | in x out | TTFT, ms | predicted | | TPOT, ms | predicted | | |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        point = row.point
        yield (
            f"| {point.tensor_parallel} | {point.clients} | {point.prompt_tokens} x {point.output_tokens} "
            f"| {point.ttft_ms:.1f} | {row.ttft_ms:.1f} | {SHARE(row.ttft_error)} "
            f"| {point.tpot_ms:.2f} | {row.tpot_ms:.2f} | {SHARE(row.tpot_error)} "
            f"| {'ran out of KV' if row.ran_out else ''} |"
        )
