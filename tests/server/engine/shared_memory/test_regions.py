"""Regions by name: who may register them, and what is told of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sardonyx_server.engine.shared_memory import regions as module
from sardonyx_server.engine.shared_memory.region import CudaRegion, Region, SystemRegion
from sardonyx_server.engine.shared_memory.regions import Regions
from sardonyx_server.errors import (
    AlreadyExists,
    Forbidden,
    InvalidRequest,
    NotFound,
    TryLater,
    Unsupported,
)
from tests.e2e.servers import eventually
from tests.server.engine.regions import FakeCuda, FakeSystem, NoCuda, no_system_memory

HANDLE = bytes(64)


def both() -> Regions:
    """Region s of system memory, region c of CUDA memory."""
    regions = Regions(allowed=True, open_system=FakeSystem(), cuda=FakeCuda())
    regions.register_system("s", key="/key", offset=4, byte_size=8)
    regions.register_cuda("c", handle=HANDLE, device=1, byte_size=16)
    return regions


def off() -> Regions:
    """Where the operator has not allowed it."""
    return Regions(allowed=False, open_system=no_system_memory, cuda=NoCuda())


def test_a_system_region_is_opened_by_its_key_and_found_by_its_name() -> None:
    """The opener hears what to call it in messages."""
    system = FakeSystem()
    regions = Regions(allowed=True, open_system=system, cuda=NoCuda())
    regions.register_system("s", key="/key", offset=4, byte_size=8)
    assert system.opened == [("shared memory region 's'", "/key", 4, 8)]
    region = regions.find("s")
    region.write(2, b"abc")
    assert bytes(region.read(1, 5)) == b"\0abc\0"
    assert system.memories[0].data == b"\0\0abc\0\0\0"


def test_a_cuda_region_is_opened_by_its_handle() -> None:
    """On the device that the caller names."""
    cuda = FakeCuda()
    regions = Regions(allowed=True, open_system=no_system_memory, cuda=cuda)
    regions.register_cuda("c", handle=HANDLE, device=1, byte_size=16)
    assert cuda.opened == [("shared memory region 'c'", HANDLE, 1, 16)]
    assert bytes(regions.find("c").read(0, 16)) == bytes(16)


def test_each_kind_is_listed_by_itself() -> None:
    """All of them for an empty name."""
    regions = both()
    (system,) = regions.listed(SystemRegion, "")
    assert (system.name, system.key, system.offset, system.byte_size) == ("s", "/key", 4, 8)
    (cuda,) = regions.listed(CudaRegion, "")
    assert (cuda.name, cuda.device, cuda.byte_size) == ("c", 1, 16)
    assert regions.listed(SystemRegion, "s") == [system]


@pytest.mark.parametrize(("kind", "name"), [(SystemRegion, "c"), (CudaRegion, "s"), (SystemRegion, "nobody")])
def test_a_region_of_another_kind_or_none_is_not_found(kind: type[Region], name: str) -> None:
    """No other names are shown."""
    with pytest.raises(NotFound) as caught:
        both().listed(kind, name)
    assert caught.value.message == f"unknown shared memory region '{name}': register it first"


@pytest.mark.parametrize("name", ["s", "c"])
def test_the_two_kinds_share_their_names(name: str) -> None:
    """For a request says no more than the name."""
    regions = both()
    with pytest.raises(AlreadyExists) as caught:
        regions.register_system(name, key="/other", offset=0, byte_size=1)
    assert caught.value.message == (
        f"shared memory region '{name}' is registered already: unregister it first, or take another name"
    )
    with pytest.raises(AlreadyExists):
        regions.register_cuda(name, handle=HANDLE, device=0, byte_size=1)


@pytest.mark.parametrize(
    ("kind", "name", "left"),
    [(SystemRegion, "s", "c"), (SystemRegion, "", "c"), (CudaRegion, "c", "s"), (CudaRegion, "", "s")],
)
def test_unregistering_forgets_regions_of_that_kind_only(kind: type[Region], name: str, left: str) -> None:
    """One, or all for an empty name; the name is free then."""
    regions = both()
    regions.unregister(kind, name)
    assert regions.listed(kind, "") == []
    assert regions.find(left).name == left
    gone = ({"s", "c"} - {left}).pop()
    with pytest.raises(NotFound):
        regions.find(gone)
    regions.register_system(gone, key="/again", offset=0, byte_size=1)


def test_unregistering_what_is_not_there_is_no_error() -> None:
    """As with Triton: programs clean up before they begin."""
    regions = both()
    for kind in (SystemRegion, CudaRegion):
        regions.unregister(kind, "nobody")
    regions.unregister(SystemRegion, "c")
    assert regions.find("c").name == "c"


@pytest.mark.parametrize(
    ("name", "byte_size", "expected"),
    [
        ("", 1, "name of a shared memory region: expected 1 to 1024 characters, got 0"),
        ("n" * 1025, 1, "name of a shared memory region: expected 1 to 1024 characters, got 1,025"),
        ("r", 0, "shared memory region 'r': expected a size of at least 1 byte, got 0"),
    ],
)
def test_a_name_or_size_that_is_none_is_refused(name: str, byte_size: int, expected: str) -> None:
    """An empty name means all regions elsewhere."""
    regions = Regions(allowed=True, open_system=no_system_memory, cuda=FakeCuda())
    with pytest.raises(InvalidRequest) as caught:
        regions.register_system(name, key="/key", offset=0, byte_size=byte_size)
    assert caught.value.message == expected
    with pytest.raises(InvalidRequest) as caught:
        regions.register_cuda(name, handle=HANDLE, device=0, byte_size=byte_size)
    assert caught.value.message == expected


def test_regions_are_bounded() -> None:
    """Each takes a descriptor of the process."""
    regions = Regions(allowed=True, open_system=FakeSystem(), cuda=NoCuda())
    for index in range(module._MAX_REGIONS):
        regions.register_system(str(index), key="/key", offset=0, byte_size=1)
    with pytest.raises(TryLater, match=r"^shared memory region 'one more': at most 4096 regions may be registered"):
        regions.register_system("one more", key="/key", offset=0, byte_size=1)


@pytest.mark.parametrize(
    "call",
    [
        lambda regions: regions.find("r"),
        lambda regions: regions.register_system("r", key="/key", offset=0, byte_size=1),
        lambda regions: regions.register_system("", key="", offset=0, byte_size=0),
    ],
)
def test_where_it_is_off_nothing_is_registered_or_found(call: Callable[[Regions], None]) -> None:
    """With the way out, whatever the request says beside."""
    with pytest.raises(Forbidden) as caught:
        call(off())
    assert caught.value.reason == "SHARED_MEMORY_OFF"
    assert "--allow-client-shm" in caught.value.message


def test_where_it_is_off_or_cuda_is_missing_the_lists_are_empty_and_can_be_cleared() -> None:
    """Programs clean up before they begin, on any server."""
    regions = off()
    for kind in (SystemRegion, CudaRegion):
        assert regions.listed(kind, "") == []
        regions.unregister(kind, "")
    regions.unregister(SystemRegion, "r")


@pytest.mark.parametrize(
    "call",
    [
        lambda regions: regions.register_cuda("c", handle=HANDLE, device=0, byte_size=1),
        lambda regions: regions.listed(CudaRegion, "c"),
        lambda regions: regions.unregister(CudaRegion, "c"),
    ],
)
@pytest.mark.parametrize("allowed", [False, True])
def test_without_cuda_a_cuda_region_cannot_be_named(call: Callable[[Regions], None], *, allowed: bool) -> None:
    """With the reason, whether shared memory is on or off."""
    regions = Regions(allowed=allowed, open_system=no_system_memory, cuda=NoCuda())
    with pytest.raises(Unsupported, match=r"^no CUDA here$"):
        call(regions)


class TestOwners:
    """Regions whose owners can be seen to end."""

    @staticmethod
    def owned(check_interval_s: float = 60.0) -> tuple[Regions, FakeSystem]:
        """Region a of an owner, region b of nobody that could be seen."""
        system = FakeSystem()
        regions = Regions(allowed=True, open_system=system, cuda=NoCuda(), check_interval_s=check_interval_s)
        system.owned = True
        regions.register_system("a", key="/a", offset=0, byte_size=8)
        system.owned = False
        regions.register_system("b", key="/b", offset=0, byte_size=8)
        return regions, system

    @staticmethod
    def names(regions: Regions) -> list[str]:
        """Of what is registered."""
        return [region.name for region in regions.listed(SystemRegion, "")]

    def test_a_region_is_forgotten_when_its_owner_has_ended(self) -> None:
        """Not before, and no other."""
        regions, system = self.owned()
        regions.remove_abandoned()
        assert self.names(regions) == ["a", "b"]
        system.memories[0].abandoned = True
        regions.remove_abandoned()
        assert self.names(regions) == ["b"]
        regions.stop()

    def test_a_client_that_comes_back_finds_its_name_free(self) -> None:
        """Registering looks first."""
        regions, system = self.owned()
        system.memories[0].abandoned = True
        regions.register_system("a", key="/a", offset=0, byte_size=8)
        assert self.names(regions) == ["b", "a"]
        regions.stop()

    def test_nobody_needs_to_call_for_it(self) -> None:
        """A thread looks as long as there are owners, and begins again with the next."""
        regions, system = self.owned(check_interval_s=0.001)
        system.memories[0].abandoned = True
        eventually(lambda: self.names(regions) == ["b"] and not regions._watching, "the region is forgotten")
        system.owned = True
        regions.register_system("c", key="/c", offset=0, byte_size=8)
        system.memories[-1].abandoned = True
        eventually(lambda: self.names(regions) == ["b"], "the next one too")
        regions.stop()
