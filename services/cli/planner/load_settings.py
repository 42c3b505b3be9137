"""What the planner's commands have in common: who asks, and what they were promised."""

from dataclasses import dataclass

from services.common.errors import BadSetting
from services.common.settings import setting
from services.planner.load.lengths import Drawn
from services.planner.load.parse import Load, parse_load
from services.planner.slo import Slo, milliseconds

HOURS_MAX_MS = 30 * 24 * 3_600_000.0


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """Load and promise."""

    load: str = setting(
        "rate=1",
        "Load: rate=20 (requests/s at random), rate=20,burst=80@60s-90s, concurrency=64 (clients that wait "
        "for their answers), or trace=FILE,speed=2",
    )
    duration: str = setting("120s", "How long the load lasts; a trace has a length of its own")
    warm_up: str = setting("10s", "Requests that begin before this are not counted")
    prompt_tokens: int = setting(500, "Prompt tokens of a request", least=1)
    output_tokens: int = setting(200, "Tokens of an answer", least=1)
    spread: str = setting(
        "uniform",
        "How lengths vary: fixed, uniform (from 80 % of the stated length up to it), lognormal (that mean)",
    )
    shared_prefix_tokens: int = setting(0, "Tokens with which every prompt begins", least=0)
    slo: str = setting("", "Promise, as in ttft_p95=600ms,tpot_p95=40ms,e2e_p95=4s,served=99.9%")

    def read(self) -> Load:
        """The load; raises `BadSetting`."""
        for_ms = milliseconds(self.duration, "--duration")
        if not 0 < for_ms <= HOURS_MAX_MS:
            raise BadSetting(f"--duration: {self.duration} is not between 0 and 30 days")
        drawn = Drawn(self.prompt_tokens, self.output_tokens, self.spread, self.shared_prefix_tokens)
        load = parse_load(self.load, drawn, for_ms)
        if self.warm_up_ms() >= load.for_ms:
            raise BadSetting(f"--warm-up: {self.warm_up} leaves nothing of a load of {load.for_ms / 1e3:g}s")
        return load

    def warm_up_ms(self) -> float:
        """Raises `BadSetting`."""
        return milliseconds(self.warm_up, "--warm-up")

    def promise(self) -> Slo | None:
        """None where nothing is promised; raises `BadSetting`."""
        return Slo.parse(self.slo) if self.slo else None
