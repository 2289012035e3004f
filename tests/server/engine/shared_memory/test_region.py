"""One region: no byte beyond it is reached, and what a client does to its memory is an error of the request."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sardonyx_server.engine.shared_memory.region import Region, shared_memory_is_off
from sardonyx_server.errors import Forbidden, InvalidRequest, ServerError
from tests.server.engine.regions import FakeMemory, region


def test_memory_that_became_smaller_is_an_error() -> None:
    """Of reading and of writing."""
    one = region("r", bytes(8))
    del one.memory.data[4:]  # type: ignore[attr-defined]  # a FakeMemory
    for call in (lambda: one.read(4, 1), lambda: one.write(4, b"x")):
        with pytest.raises(InvalidRequest, match=r"^the region has become smaller$"):
            call()
    assert one.read(0, 4) == bytes(4)


def test_what_stands_in_for_a_look_up_refuses() -> None:
    """Whatever the name."""
    with pytest.raises(Forbidden) as caught:
        shared_memory_is_off("r")
    assert caught.value.reason == "SHARED_MEMORY_OFF"


@given(
    size=st.integers(1, 64),
    offset=st.integers(0, 80) | st.integers(0, 2**64 - 1),
    count=st.integers(0, 80) | st.integers(0, 2**64 - 1),
)
def test_no_byte_beyond_a_region_is_reached(size: int, offset: int, count: int) -> None:
    """For any offset and any number of bytes: those of the region, or a refusal before memory is asked for."""
    memory = FakeMemory(bytes(range(size)) + b"beyond")
    region = Region(name="r", byte_size=size, memory=memory)

    def attempt(call: Callable[[], object]) -> object:
        try:
            return call()
        except ServerError as error:
            return error.message

    beyond = f"shared memory region 'r' has {size} bytes: {count} bytes at offset {offset} go beyond its end"
    fits = offset + count <= size
    expected: object = bytes(range(size))[offset : offset + count] if fits else beyond
    assert attempt(lambda: region.read(offset, count)) == expected
    assert memory.deferred_refs == fits
    if count <= 80:
        assert attempt(lambda: region.write(offset, b"x" * count)) == (None if fits else beyond)
    assert memory.data[size:] == b"beyond"
