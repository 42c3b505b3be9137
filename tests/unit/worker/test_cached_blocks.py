"""What a worker remembers of its engine's prefix cache, against the router's own index."""

from hypothesis import given
from hypothesis import strategies as st

from services.common.domain import KvChange
from services.common.domain.tokens import tokens
from services.router.core.prefixes import PrefixIndex
from services.worker.cached_blocks import CachedBlocks

SIZE = 2


def stored(text: str, blocks: int, parent: bytes = b"", known: int = 0, salt: str = "") -> KvChange:
    """The event of a text's blocks from number `known` on; a block's name is the text up to its end."""
    names = tuple(text[: SIZE * (n + 1)].encode() for n in range(known, blocks))
    ids = tokens(ord(c) for c in text[known * SIZE : blocks * SIZE])
    return KvChange(names, parent, (), ids, SIZE, salt)


def index_of(changes: list[KvChange]) -> PrefixIndex:
    made = PrefixIndex(1_000)
    for change in changes:
        made.take(1, "m", change, SIZE, 1_000)
    return made


def overlap(index: PrefixIndex, text: str, salt: str = "") -> int:
    return index.overlap(("m", salt, ""), tokens(map(ord, text + "?")), SIZE).tokens([1])[0]


def test_a_snapshot_tells_each_block_after_its_parent():
    cached = CachedBlocks(1_000)
    changes = [
        stored("abcdef", 3),
        stored("abcdxy", 3, b"abcd", 2),
        stored("abcdxyzz", 4, b"abcdxy", 3),
        stored("qr", 1, salt="s"),
    ]
    cached.take(changes)
    index = index_of(cached.snapshot())
    assert [overlap(index, t) for t in ("abcdef", "abcdxyzz", "abzz", "qr")] == [6, 8, 2, 0]
    assert overlap(index, "qr", "s") == 2


def test_removed_and_cleared_blocks_are_not_told():
    cached = CachedBlocks(1_000)
    cached.take([stored("abcdef", 3), KvChange(removed_block_hashes=(b"abcdef", b"unknown"))])
    assert overlap(index_of(cached.snapshot()), "abcdef") == 4
    cached.take([KvChange(cleared=True)])
    assert (len(cached), cached.snapshot()) == (0, [])


def test_past_its_bound_the_oldest_are_forgotten():
    cached = CachedBlocks(6 * SIZE)
    cached.take([stored("aabbcc", 3), stored("ddeeff", 3), stored("gghhii", 3)])
    assert len(cached) <= 6
    index = index_of(cached.snapshot())
    assert [overlap(index, t) for t in ("aabbcc", "gghhii")] == [0, 6]


def test_a_senseless_event_is_ignored():
    cached = CachedBlocks(100)
    cached.take([KvChange((b"a",), b"", (), tokens([1]), 0), KvChange((b"a", b"b"), b"", (), tokens([1]), 1)])
    assert len(cached) == 0


@given(st.lists(st.tuples(st.sampled_from("sr"), st.text("ab", min_size=2, max_size=10)), max_size=30))
def test_a_late_index_knows_what_an_early_one_does(steps: list[tuple[str, str]]):
    cached, early, held = CachedBlocks(10_000), PrefixIndex(10_000), set()
    for kind, text in steps:
        text = text[: len(text) // SIZE * SIZE]
        if kind == "s":
            known = next((n for n in range(len(text) // SIZE) if text[: SIZE * (n + 1)] not in held), None)
            if known is None:
                continue
            change = stored(text, len(text) // SIZE, text[: SIZE * known].encode(), known)
            held |= {name.decode() for name in change.stored_block_hashes}
        else:
            gone = [name for name in held if name.startswith(text)]  # an engine frees from a text's end
            held -= set(gone)
            change = KvChange(removed_block_hashes=tuple(name.encode() for name in gone))
        cached.take([change])
        early.take(1, "m", change, SIZE, 10_000)
    late = index_of([KvChange(cleared=True), *cached.snapshot()])
    for _, text in steps:
        assert overlap(late, text) == overlap(early, text)
