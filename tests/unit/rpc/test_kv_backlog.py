"""Which changes of a prefix cache wait, and that waiting changes nothing but the time."""

from random import Random

from services.common.domain import KvChange
from services.common.domain.tokens import tokens
from services.common.rpc.kv_backlog import CHANGES_MAX, GROWN_MAX, KvBacklog

BLOCK_TOKENS = 2


def name(number: int) -> bytes:
    return number.to_bytes(4, "big")


def stored(first: int, count: int = 1, parent: int = 0) -> KvChange:
    """`count` blocks from `first` on, whose tokens are their numbers; parent 0: none."""
    numbers = range(first, first + count)
    ids = tokens(number for number in numbers for _ in range(BLOCK_TOKENS))
    above = name(parent) if parent else b""
    return KvChange(tuple(map(name, numbers)), above, (), ids, BLOCK_TOKENS)


def removed(*numbers: int) -> KvChange:
    return KvChange(removed_block_hashes=tuple(map(name, numbers)))


class Cache:
    """What a reader of changes believes: each block's parent."""

    def __init__(self) -> None:
        self.parents: dict[bytes, bytes] = {}

    def take(self, changes: list[KvChange]) -> None:
        for change in changes:
            if change.cleared:
                self.parents.clear()
            for gone in change.removed_block_hashes:
                self.parents.pop(gone, None)
            parent = change.parent_block_hash
            assert not parent or parent in self.parents, "a text's middle before its beginning"
            assert len(change.token_ids) == len(change.stored_block_hashes) * BLOCK_TOKENS
            for block in change.stored_block_hashes:
                self.parents[block] = parent
                parent = block


def test_the_growth_of_a_text_waits_and_becomes_one_change() -> None:
    backlog = KvBacklog()
    backlog.add([stored(1, parent=0), stored(11, parent=0)])
    backlog.add([stored(2, parent=1), stored(12, parent=11)])
    backlog.add([stored(3, parent=2)])
    assert not backlog.is_pressing
    assert backlog.take_pressing() == []
    assert backlog.take() == [stored(1, 3), stored(11, 2)]
    assert backlog.size_bytes == 0
    assert backlog.take() == []


def test_a_prompt_is_told_soon_and_growth_is_not() -> None:
    backlog = KvBacklog()
    backlog.add([stored(1), stored(21, 5), stored(31)])
    assert backlog.is_pressing
    assert backlog.take_pressing() == [stored(21, 5)]
    assert not backlog.is_pressing
    assert backlog.take() == [stored(1), stored(31)]


def test_what_continues_a_waiting_text_takes_it_along() -> None:
    backlog = KvBacklog()
    backlog.add([stored(1), stored(11), stored(2, 3, parent=1)])
    assert backlog.take_pressing() == [stored(1), stored(11), stored(2, 3, parent=1)]


def test_growth_does_not_pass_a_removal() -> None:
    backlog = KvBacklog()
    backlog.add([stored(1), removed(2), stored(2, parent=1)])
    assert backlog.take() == [stored(1), removed(2), stored(2, parent=1)]


def test_much_growth_is_told_at_once() -> None:
    backlog = KvBacklog()
    backlog.add([stored(2 * number) for number in range(1, GROWN_MAX)])
    assert not backlog.is_pressing
    backlog.add([stored(1)])
    assert backlog.is_pressing
    assert len(backlog.take_pressing()) == GROWN_MAX
    assert not backlog.is_pressing


def test_too_much_is_cut_and_says_so() -> None:
    backlog = KvBacklog()
    backlog.add([stored(10 * number, 2) for number in range(1, CHANGES_MAX + 2)])
    changes = backlog.take()
    assert changes[0].cleared
    assert changes[-1] == stored(10 * (CHANGES_MAX + 1), 2)
    assert len(changes) == CHANGES_MAX // 2 + 1


def test_waiting_changes_nothing_but_the_time() -> None:
    for seed in range(200):
        random = Random(seed)
        backlog, told, at_once = KvBacklog(), Cache(), Cache()
        ends: list[int] = []
        fresh = 1
        for _ in range(60):
            count = random.choice([1, 1, 1, 3])
            parent = random.choice([0, *ends])
            change = stored(fresh, count, parent)
            if parent:
                ends.remove(parent)
            ends.append(fresh + count - 1)
            fresh += count
            backlog.add([change])
            at_once.take([change])
            if random.random() < 0.3:
                told.take(backlog.take_pressing())
            if random.random() < 0.1:
                told.take(backlog.take())
        told.take(backlog.take())
        assert told.parents == at_once.parents
