"""What goes wrong in a simulated engine, on demand."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Faults:
    """Injected faults; the defaults inject none."""

    slow_factor: float = 1.0
    """Every step takes this many times as long."""
    fail_handoff_every: int = 0
    """This engine's every nth pull fails (decode side); 0 is never."""
    corrupt_handoff_every: int = 0
    """Every nth KV that this engine serves is damaged on the way (prefill side); 0 is never."""
    corrupt_adopted: bool = False
    """KV that this engine adopts is wrong without anybody noticing: other tokens, no error (decode side)."""
    refuse_pulls: bool = False
    """Nobody can pull from this engine (prefill side)."""
    die_after_steps: int = 0
    """The engine dies after this many steps; 0 is never."""
    deadly_token: int = 0
    """The engine dies of running a prompt with this token id in it; 0 is none."""
    choke_token: int = 0
    """The engine fails every request with this token id in its prompt, and goes on with others; 0 is none."""
    fail_every: int = 0
    """The engine fails every nth request that it has run the prompt of, and goes on; 0 is never."""
    exit_on_death: bool = False
    """Die as a killed process does, without a word, rather than as an engine that reports its death."""
    hang: bool = False
    """Steps stop; nothing is reported."""
