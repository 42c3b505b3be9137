"""The prefix index against a naive model of the same events, and its bounds."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.domain import KvChange
from services.common.domain.tokens import tokens
from services.router.core.prefixes import PrefixIndex

SIZE = 2
M = ("m", "", "")


def stored(names, parent, ids, **more) -> KvChange:
    return KvChange(tuple(n.encode() for n in names), parent.encode(), (), tokens(ids), SIZE, **more)


def removed(*names) -> KvChange:
    return KvChange(removed_block_hashes=tuple(n.encode() for n in names))


def index(blocks_max=1_000) -> PrefixIndex:
    return PrefixIndex(blocks_max, secret=1)


def take(into: PrefixIndex, session: int, change: KvChange, blocks_max=1_000) -> None:
    into.take(session, "m", change, SIZE, blocks_max)


def overlap(of: PrefixIndex, session: int, ids, name=M) -> int:
    return of.overlap(name, tokens(ids), SIZE).tokens([session])[0]


def test_the_longest_overlap_is_told_for_each_worker():
    known = index()
    take(known, 1, stored("abc", "", [1, 2, 3, 4, 5, 6]))
    take(known, 2, stored("x", "", [1, 2]))
    take(known, 2, stored("y", "x", [3, 9]))
    found = known.overlap(M, tokens([1, 2, 3, 4, 5, 6, 7]), SIZE)
    assert found.tokens((1, 2, 3)) == [6, 2, 0]
    assert found.best(-1 & (1 << 8) - 1, 2, Random(0)) == [1, 2]
    assert found.longest(known.mask([2])) == 2


def test_the_last_token_is_never_counted_as_cached():
    known = index()
    take(known, 1, stored("ab", "", [1, 2, 3, 4]))
    assert overlap(known, 1, [1, 2, 3, 4]) == 2
    assert overlap(known, 1, [1, 2, 3, 4, 5]) == 4
    assert overlap(known, 1, []) == 0


def test_models_salts_and_adapters_are_kept_apart():
    known = index()
    take(known, 1, stored("a", "", [1, 2], cache_salt="s", lora="l"))
    names = [
        M,
        ("m", "s", ""),
        ("m", "", "l"),
        ("n", "s", "l"),
        ("m", "s", "l"),
    ]
    assert [overlap(known, 1, [1, 2, 3], name) for name in names] == [0, 0, 0, 0, 2]
    assert overlap(known, 1, [1, 2, 3], ("m", "s", "l")) == 2


def test_senseless_events_are_harmless():
    known = index()
    take(known, 1, removed("never"))
    take(known, 1, stored("b", "unknown", [3, 4]))
    take(known, 1, stored("ab", "", [1, 2, 3]))
    known.take(1, "m", KvChange((b"a",), b"", (), tokens([1, 2, 3]), 3), SIZE, 10)
    assert len(known) == 0
    take(known, 1, stored("a", "", [1, 2]))
    take(known, 1, stored("a", "", [1, 2]))
    assert (len(known), overlap(known, 1, [1, 2, 3])) == (1, 2)


def test_who_clears_its_cache_or_leaves_is_forgotten_and_its_place_taken():
    known = index()
    for session in (1, 2):
        take(known, session, stored("ab", "", [1, 2, 3, 4]))
    take(known, 1, KvChange(cleared=True))
    assert [overlap(known, s, [1, 2, 3, 4, 5]) for s in (1, 2)] == [0, 4]
    known.forget(2)
    known.forget(2)
    take(known, 3, stored("a", "", [7, 8]))
    assert (len(known), overlap(known, 3, [1, 2, 3]), overlap(known, 3, [7, 8, 9])) == (1, 0, 2)
    assert not known.feeds(2)


def test_the_bound_holds_and_the_fullest_workers_oldest_go_first():
    known = index(blocks_max=10)
    take(known, 1, stored("a", "", [1, 2]))
    for number in range(30):
        take(known, 2, stored([f"n{number}"], "", [100 + number, 0]))
        assert len(known) <= 10
    assert overlap(known, 1, [1, 2, 3]) == 2
    assert overlap(known, 2, [100, 0, 1]) == 0
    assert overlap(known, 2, [129, 0, 1]) == 2


def test_a_worker_that_claims_more_than_it_can_hold_is_cut():
    known = index()
    for number in range(30):
        take(known, 1, stored([f"n{number}"], "", [100 + number, 0]), blocks_max=4)
    assert len(known) == 4


class Naive:
    """Each worker's blocks as whole prefixes by engine name."""

    def __init__(self) -> None:
        self.workers: dict[int, dict[bytes, tuple[int, ...]]] = {}

    def take(self, session, change):
        if change.cleared:
            self.workers.pop(session, None)
        blocks = self.workers.setdefault(session, {})
        for name in change.removed_block_hashes:
            self._drop(blocks, name)
        parent = blocks.get(change.parent_block_hash) if change.parent_block_hash else ()
        if parent is None or len(change.token_ids) != SIZE * len(change.stored_block_hashes):
            return
        for number, name in enumerate(change.stored_block_hashes):
            parent = (*parent, *change.token_ids[number * SIZE : (number + 1) * SIZE])
            blocks[name] = parent

    def _drop(self, blocks, name):
        blocks.pop(name, None)

    def overlap(self, session, ids):
        prefixes = set(self.workers.get(session, {}).values())
        n = 0
        while n + SIZE < len(ids) and tuple(ids[: n + SIZE]) in prefixes:
            n += SIZE
        return n


TOKEN = st.integers(0, 1)


@st.composite
def chains(draw):
    """Events as engines could send them, in any order: a name stands for one prefix of its worker."""
    ids = draw(st.lists(TOKEN, min_size=SIZE, max_size=4 * SIZE))
    ids = ids[: len(ids) // SIZE * SIZE]
    names = ["".join(map(str, ids[: n + SIZE])) for n in range(0, len(ids), SIZE)]
    first = draw(st.integers(0, len(names) - 1))
    session = draw(st.integers(1, 3))
    kind = draw(st.sampled_from(["stored", "stored", "stored", "removed", "cleared", "gone"]))
    if kind == "stored":
        parent = names[first - 1] if first else ""
        return session, stored(names[first:], parent, ids[first * SIZE :])
    if kind == "removed":
        return session, removed(*names[first:])
    return session, KvChange(cleared=True) if kind == "cleared" else None


@settings(max_examples=150, deadline=None)
@given(st.lists(chains(), max_size=30), st.lists(TOKEN, max_size=10))
def test_it_agrees_with_a_naive_model(events, ids):
    known, naive = index(), Naive()
    for session, change in events:
        if change is None:
            known.forget(session)
            naive.workers.pop(session, None)
        else:
            take(known, session, change)
            naive.take(session, change)
        assert len(known) == sum(len(blocks) for blocks in naive.workers.values())
    found = known.overlap(M, tokens(ids), SIZE)
    assert found.tokens((1, 2, 3)) == [naive.overlap(s, ids) for s in (1, 2, 3)]
    assert found.longest(-1) == max(naive.overlap(s, ids) for s in (1, 2, 3))


def test_a_hole_in_a_workers_prefix_ends_its_overlap():
    known = index()
    for session in (1, 2):
        take(known, session, stored("ab", "", [1, 2, 3, 4]))
    take(known, 1, removed("a"))
    assert [overlap(known, s, [1, 2, 3, 4, 5]) for s in (1, 2)] == [0, 4]


def test_long_texts_are_walked_as_exactly_as_short_ones():
    chance = Random(0)
    text = [chance.randrange(1_000) for _ in range(150 * SIZE)]
    for _ in range(60):
        known, depths = index(blocks_max=10_000), chance.choices(range(1, 150), k=chance.randrange(1, 5))
        for session, depth in enumerate(depths, 1):
            names = [f"{session}-{number}" for number in range(depth)]
            take(known, session, stored(names, "", text[: depth * SIZE]), blocks_max=10_000)
        whole = chance.randrange(1, 150)
        found = known.overlap(M, tokens(text[: whole * SIZE + 1]), SIZE)
        assert found.tokens(range(1, 1 + len(depths))) == [min(depth, whole) * SIZE for depth in depths]
