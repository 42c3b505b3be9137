"""GPUs: memory, peak rates, links. Figures are the makers' data sheets' for dense arithmetic."""

from dataclasses import dataclass

from services.planner.hardware.unknown_name import unknown_name

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Gpu:
    """One kind of GPU."""

    name: str
    memory_bytes: float
    bandwidth_gb_per_s: float
    """Of its memory."""
    tflops_16: float
    """Peak of 16-bit dense arithmetic."""
    tflops_8: float
    """Peak of 8-bit arithmetic; that of 16 bits where the GPU has none."""
    peer_gb_per_s: float
    """To another GPU of the same host, one way."""
    network_gb_per_s: float
    """To another host, one way: the usual network card of such a host."""
    tables: str
    """What the measured timings call it."""
    price_per_hour: float
    """Dollars; what it roughly rents for on demand, where the user says nothing."""


GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu("a100", 80 * GIB, 2039, 312, 312, 300, 25, "a100_sxm", 1.3),
        Gpu("h100", 80 * GIB, 3350, 989, 1979, 450, 50, "h100_sxm", 2.0),
        Gpu("h200", 141e9, 4800, 989, 1979, 450, 50, "h200_sxm", 2.6),
        Gpu("b200", 192e9, 8000, 2250, 4500, 900, 50, "b200_sxm", 4.0),
        Gpu("b300", 288e9, 8000, 2250, 4500, 900, 100, "b300_sxm", 5.0),
        Gpu("gb200", 192e9, 8000, 2500, 5000, 900, 50, "gb200", 4.5),
        Gpu("l40s", 48 * GIB, 864, 362, 733, 32, 12.5, "l40s", 0.8),
        Gpu("l4", 24 * GIB, 300, 121, 242, 32, 12.5, "l4", 0.4),
        Gpu("rtx-pro-6000", 96e9, 1597, 500, 1000, 64, 25, "rtx_pro_6000_server", 1.2),
    )
}
"""By the names that `--gpu` takes."""


def gpu_of(name: str, flag: str = "--gpu") -> Gpu:
    """The GPU of that name; raises `BadSetting`, which names the nearest."""
    key = name.lower().replace("_", "-").removesuffix("-sxm")
    if key not in GPUS:
        raise unknown_name(flag, "GPU", name, GPUS)
    return GPUS[key]
