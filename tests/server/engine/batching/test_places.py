"""Places for requests that are on their way: kept, given up, and given up by themselves."""

from __future__ import annotations

from sardonyx_server.engine.batching.places import Places


def test_places_count_by_rows_until_they_are_given_up() -> None:
    """In any order."""
    places = Places()
    first, second = places.keep(3, 10.0), places.keep(4, 10.0)
    assert places.rows == 7
    places.give_up(first)
    assert places.rows == 4
    places.give_up(second)
    assert places.rows == 0


def test_a_place_is_given_up_once() -> None:
    """Its request may come after its time, and go away after that."""
    places = Places()
    place = places.keep(3, 10.0)
    places.see_clock(10.1)
    assert places.rows == 0
    places.give_up(place)
    places.give_up(place)
    assert places.rows == 0


def test_a_place_is_kept_for_a_tenth_of_a_second() -> None:
    """Who sends slowly, or not at all, must not have others refused."""
    places = Places()
    places.keep(1, 10.0)
    given_up = places.keep(2, 10.02)
    places.keep(4, 10.05)
    places.see_clock(10.09)
    assert places.rows == 7
    places.give_up(given_up)
    places.see_clock(10.11)
    assert places.rows == 4
    places.see_clock(10.16)
    assert places.rows == 0
