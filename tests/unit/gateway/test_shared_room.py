"""Memory that all callers share."""

from services.gateway.shared_room import SharedRoom


def test_one_alone_gets_four_fifths() -> None:
    room = SharedRoom(100)
    assert room.take("a", 80)
    assert not room.take("a", 1)
    assert room.take("b", 1)


def test_who_holds_little_gets_in_beside_any_number() -> None:
    room = SharedRoom(1000)
    for tenant in map(str, range(20)):
        while room.take(tenant, 10):
            pass
    assert room.held_bytes < 1000
    assert room.take("late", 1)


def test_a_holding_is_released_once() -> None:
    room = SharedRoom(100)
    one, other = room.open("a"), room.open("a")
    assert one.grow(30)
    assert other.grow(30)
    one.release()
    one.release()
    assert room.held_bytes == 30
    other.release()
    assert room.held_bytes == 0
    assert room.take("a", 80)


def test_what_is_refused_is_not_held() -> None:
    room = SharedRoom(100)
    holding = room.open("a")
    assert not holding.grow(90)
    assert holding.size_bytes == room.held_bytes == 0
