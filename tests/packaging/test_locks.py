"""The lock files: complete, hashed, without addresses, and in step with pyproject.toml and each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("dev", "newest", "oldest", "serve")


def text(lock: str) -> str:
    """Content of one lock file."""
    return (ROOT / "requirements" / f"{lock}.lock").read_text("utf-8")


def pins(lock: str) -> dict[str, str]:
    """Name -> version that this interpreter would install."""
    found = map(Requirement, re.findall(r"^[a-z0-9][^\\\n]+", text(lock), re.MULTILINE))
    return {
        canonicalize_name(each.name): str(each.specifier).removeprefix("==")
        for each in found
        if each.marker is None or each.marker.evaluate()
    }


def required() -> list[Requirement]:
    """What the client and the server ask for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *extras["server"], *extras["server-base"]]
    return [each for each in map(Requirement, lines) if each.name != project["name"]]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address(lock: str) -> None:
    """Each machine installs from the index that it is set up for."""
    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host", text(lock))


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_of_a_lock_has_a_hash(lock: str) -> None:
    """An installer refuses a file that is not the one that was locked."""
    blocks = re.split(r"^(?=[a-z0-9])", text(lock), flags=re.MULTILINE)[1:]
    assert blocks
    assert not [block.split()[0] for block in blocks if "--hash=sha256:" not in block]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_meets_every_bound_of_the_server(lock: str) -> None:
    """A bound changed without `make lock` is found here."""
    pinned = pins(lock)
    assert not [str(each) for each in required() if not each.specifier.contains(pinned[canonicalize_name(each.name)])]


def test_serving_and_developing_use_the_same_versions() -> None:
    """`make serve` after `make test` has nothing to change."""
    developing = pins("dev")
    assert {name: version for name, version in pins("serve").items() if developing[name] != version} == {}


def test_the_oldest_lock_is_the_lower_end_of_every_bound() -> None:
    """What pyproject.toml promises at least is what `make test-oldest` installs."""
    pinned = pins("oldest")
    ends = {canonicalize_name(each.name): lower(each) for each in required()}
    assert {name: pinned[name] for name, end in ends.items() if not f"{pinned[name]}.".startswith(f"{end}.")} == {}


def lower(requirement: Requirement) -> str:
    """The lower bound of a requirement, such as ``1.68``."""
    return next(each.version for each in requirement.specifier if each.operator == ">=")
