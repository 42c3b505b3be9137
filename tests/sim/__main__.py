"""Replay one seed and print its event log: `python -m tests.sim SEED`."""

import sys

from services.router.core.events import Tick
from tests.sim import scenario
from tests.sim.world import World


def main() -> int:
    """Entry point; exit code 1 when the seed breaks an invariant."""
    world = World(int(sys.argv[1]))
    broken = scenario.break_of(world)
    for now_ms, entry in world.log:
        if not isinstance(entry, Tick):
            print(f"{now_ms:9.1f} {entry}"[:400])
    print(broken or "every invariant holds")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
