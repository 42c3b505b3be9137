"""Published measurements: those that the constants are learnt on and judged by, and others."""

import csv
from pathlib import Path

from services.planner.silicon import Point, published_points

LLAMA, H100 = "meta-llama/Llama-3.1-70B", "h100_sxm"
SYSTEMS = {"H100-SXM-80GB": "h100_sxm", "H200-SXM-141GB": "h200_sxm", "B200-SXM": "b200_sxm"}


def h100_rows() -> list[Point]:
    """Llama-3.1-70B in FP8 on H100: 45 rows of tensor parallelism 2, 4 and 8."""
    return ordered(p for p in published_points() if (p.model, p.system, p.precision) == (LLAMA, H100, "fp8"))


def rows_of(model: str, system: str, precision: str) -> list[Point]:
    """Other published rows."""
    found = published_points()
    return ordered(p for p in found if (p.model, p.system, p.precision) == (model, system, precision))


def rows_in(path: Path) -> list[Point]:
    """Rows of a CSV file with the columns id, model, precision, gpu, parallel, concurrency, isl, osl, ttft_ms
    and tpot_ms.
    """
    with path.open(encoding="utf-8", newline="") as file:
        return ordered(
            Point(
                row["id"],
                row["model"],
                SYSTEMS.get(row["gpu"], row["gpu"]),
                row["precision"],
                int(row["parallel"].removeprefix("TP")),
                int(row["concurrency"]),
                int(row["isl"]),
                int(row["osl"]),
                float(row["ttft_ms"]),
                float(row["tpot_ms"]),
            )
            for row in csv.DictReader(file)
        )


def ordered(points) -> list[Point]:
    return sorted(points, key=lambda p: (p.tensor_parallel, p.prompt_tokens, p.output_tokens, p.clients))
