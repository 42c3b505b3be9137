"""Seeded lives of a mesh. `make sim SEED=17` replays one and prints its log; SEEDS=N runs more."""

import os

import pytest

from tests.sim.scenario import break_of
from tests.sim.world import World

SEEDS = int(os.environ.get("SEEDS") or "1000")
BATCH = 50


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
@pytest.mark.timeout(600)
def test_no_seed_breaks_an_invariant(first: int) -> None:
    for seed in range(first, first + BATCH):
        broken = break_of(World(seed))
        assert not broken, f"seed {seed}: {broken}; replay with `make sim SEED={seed}`"
