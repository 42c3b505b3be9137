"""How long a simulated engine takes: a roofline with few numbers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """The timing of one engine on one machine; all times are multiplied by `time_scale`."""

    step_ms: float = 10.0
    """One step's memory-bound floor: reading the weights once."""
    sequence_us: float = 20.0
    """Added per decoding sequence: its attention over its own KV, sampling."""
    prefill_tokens_per_s: float = 20_000.0
    """Compute-bound rate of prompt tokens; 0 is infinitely fast."""
    handoff_gb_per_s: float = 10.0
    """Bandwidth of a handoff; 0 is infinitely fast."""
    handoff_latency_ms: float = 2.0
    """Fixed time of a handoff."""
    kv_token_bytes: int = 131_072
    """KV bytes of one token: 2 x layers x KV heads x head size x bytes per element."""
    time_scale: float = 1.0

    def step_duration_ms(self, *, prefill_tokens: int, decoding: int) -> float:
        """Time of one step: reading weights or computing prompts, whichever is longer, plus each sequence."""
        compute_ms = (
            prefill_tokens / self.prefill_tokens_per_s * 1e3 if self.prefill_tokens_per_s > 0 else 0.0
        )
        return (max(self.step_ms, compute_ms) + decoding * self.sequence_us / 1e3) * self.time_scale

    def handoff_ms(self, size_bytes: int) -> float:
        """Time to move one KV cache."""
        wire_ms = size_bytes / self.handoff_gb_per_s / 1e6 if self.handoff_gb_per_s > 0 else 0.0
        return (self.handoff_latency_ms + wire_ms) * self.time_scale


PROFILES = {
    # Round numbers for a laptop-sized mesh: fast enough to watch, slow enough to queue.
    "small": Profile(),
    # No delays at all, for tests of everything but time.
    "instant": Profile(
        step_ms=0, sequence_us=0, prefill_tokens_per_s=0, handoff_gb_per_s=0, handoff_latency_ms=0
    ),
    # An 8B model in bf16 on one 3.35 TB/s, 990 TFLOP/s GPU, from the data sheet: 16 GB of weights at 70 %
    # of the bandwidth, 2 x 8e9 FLOP per token at 40 % of the compute, a 400 Gbit/s link at 80 %.
    "h100-8b": Profile(
        step_ms=6.8,
        sequence_us=15.0,
        prefill_tokens_per_s=25_000.0,
        handoff_gb_per_s=40.0,
        handoff_latency_ms=3.0,
    ),
}
"""Timings by name. None of them is measured; calibrate before you plan with one."""
