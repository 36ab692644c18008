"""The queue, and the rate of one address."""

from skinlesion_cli.serving.limits import ADDRESSES, BURST, Places, Rate


def test_places_are_limited_by_number_and_by_size() -> None:
    places = Places(2, 100)
    assert places.take(60)
    assert not places.take(41)
    assert places.take(40)
    assert not places.take(0)
    places.give_back(60)
    assert places.take(60)


def test_a_burst_is_answered_and_then_the_rate() -> None:
    now = 0.0
    rate = Rate(600, clock=lambda: now)
    assert [rate.wait("a") for _ in range(BURST)] == [0.0] * BURST
    assert rate.wait("a") == 0.1
    assert rate.wait("b") == 0.0
    now = 0.05
    assert round(rate.wait("a"), 6) == 0.05
    now = 0.1
    assert rate.wait("a") == 0.0
    now = 1000.0
    assert [rate.wait("a") == 0 for _ in range(BURST + 1)] == [True] * BURST + [False]


def test_no_more_addresses_are_kept_than_said() -> None:
    rate = Rate(1, clock=lambda: 0.0)
    assert rate.wait("first") == 0
    for number in range(ADDRESSES):
        rate.wait(str(number))
    # Forgotten, so that it may ask again.
    assert rate.wait("first") == 0
    assert rate.wait(str(ADDRESSES - 1)) > 0


def test_zero_is_no_limit() -> None:
    rate = Rate(0)
    assert not any(rate.wait("a") for _ in range(1000))
