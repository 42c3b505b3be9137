"""Every block is free, cached or held, whatever happens in whatever order."""

import random

import pytest

from services.common.domain.tokens import tokens
from services.worker.engine.sim.blocks import BlockPool, Holding, block_hash


def held_blocks(pool: BlockPool) -> int:
    return pool.total - pool.available


def test_acquire_takes_whole_blocks_or_nothing() -> None:
    pool = BlockPool(4, 4)
    assert pool.acquire(tokens(range(17)), 17, "", 16) is None
    assert pool.available == 4
    holding = pool.acquire(tokens(range(13)), 13, "", 12)
    assert holding is not None
    assert (holding.blocks, pool.available) == (4, 0)
    pool.free(holding)
    pool.free(holding)
    assert pool.available == 4


def test_a_prefix_is_found_again_and_shared() -> None:
    pool = BlockPool(8, 4)
    text = tokens(range(10))
    first = pool.acquire(text, 10, "", 9)
    assert first is not None
    pool.publish(first, text, 10)
    second = pool.acquire(text, 10, "", 9)
    assert second is not None
    assert second.shared == first.shared
    assert len(first.shared) == 2
    assert held_blocks(pool) == 4  # two shared, one private each
    pool.free(first)
    pool.free(second)
    assert pool.cached == 2
    assert pool.available == 8


def test_a_salt_keeps_caches_apart() -> None:
    pool = BlockPool(8, 4)
    text = tokens(range(8))
    mine = pool.acquire(text, 8, "mine", 8)
    assert mine is not None
    pool.publish(mine, text, 8)
    theirs = pool.acquire(text, 8, "theirs", 8)
    assert theirs is not None
    assert theirs.shared == []


def test_the_oldest_content_is_evicted_and_said() -> None:
    pool = BlockPool(2, 4)
    texts = [tokens(range(start, start + 4)) for start in (0, 100, 200)]
    for text in texts[:2]:
        holding = pool.acquire(text, 4, "", 4)
        assert holding is not None
        pool.publish(holding, text, 4)
        pool.free(holding)
    stored = [change.stored_block_hashes for change in pool.take_changes()]
    assert stored == [(block_hash(b"", texts[0]),), (block_hash(b"", texts[1]),)]
    assert pool.acquire(texts[2], 4, "", 4) is not None
    (removed,) = pool.take_changes()
    assert removed.removed_block_hashes == (block_hash(b"", texts[0]),)


def test_changes_name_parents_and_tokens() -> None:
    pool = BlockPool(8, 4)
    text = tokens(range(12))
    holding = pool.acquire(text, 12, "", 11)
    assert holding is not None
    pool.publish(holding, text, 9)
    pool.publish(holding, text, 12)
    first, second = pool.take_changes()
    assert (first.parent_block_hash, first.token_ids) == (b"", text[:8])
    assert second.parent_block_hash == first.stored_block_hashes[-1]
    assert second.token_ids == text[8:]


def test_without_prefix_caching_nothing_is_remembered() -> None:
    pool = BlockPool(8, 4, prefix_caching=False)
    text = tokens(range(8))
    holding = pool.acquire(text, 8, "", 7)
    assert holding is not None
    pool.publish(holding, text, 8)
    pool.free(holding)
    assert pool.cached == 0
    assert pool.take_changes() == []


@pytest.mark.parametrize("seed", range(20))
def test_counts_always_add_up(seed: int) -> None:
    random_source = random.Random(seed)
    pool, held = BlockPool(16, 4), list[tuple[Holding, int]]()
    for _ in range(300):
        length = random_source.randint(1, 30)
        text = tokens([random_source.randint(0, 1)] * length)
        holding = pool.acquire(text, length, "", length - 1)
        if holding is not None:
            pool.publish(holding, text, length)
            held.append((holding, length))
        while held and random_source.random() < 0.6:
            pool.free(held.pop(random_source.randrange(len(held)))[0])
        shared = {name for holding, _ in held for name in holding.shared}
        private = sum(holding.private for holding, _ in held)
        assert held_blocks(pool) == len(shared) + private
        assert all(holding.blocks == -(-length // 4) for holding, length in held)
    for holding, _ in held:
        pool.free(holding)
    assert pool.available == 16
