"""Reservations for requests that are still being received: made, released and expired."""

from __future__ import annotations

from sardonyx_server.engine.batching.reservations import Reservations


def test_reservations_count_by_rows_until_they_are_released() -> None:
    """In any order."""
    reservations = Reservations()
    first, second = reservations.reserve(3, 10.0), reservations.reserve(4, 10.0)
    assert reservations.rows == 7
    reservations.release(first)
    assert reservations.rows == 4
    reservations.release(second)
    assert reservations.rows == 0


def test_a_reservation_is_released_once() -> None:
    """Its request may come after its time, and go away after that."""
    reservations = Reservations()
    reservation = reservations.reserve(3, 10.0)
    reservations.expire(10.1)
    assert reservations.rows == 0
    reservations.release(reservation)
    reservations.release(reservation)
    assert reservations.rows == 0


def test_a_reservation_expires_after_a_tenth_of_a_second() -> None:
    """Who sends slowly, or not at all, must not have others refused."""
    reservations = Reservations()
    reservations.reserve(1, 10.0)
    released = reservations.reserve(2, 10.02)
    reservations.reserve(4, 10.05)
    reservations.expire(10.09)
    assert reservations.rows == 7
    reservations.release(released)
    reservations.expire(10.11)
    assert reservations.rows == 4
    reservations.expire(10.16)
    assert reservations.rows == 0
