"""Every public method of tritonclient's InferenceServerClient, sync and asyncio, unmodified, on both transports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.table import WHAT
from tests.e2e.servers import ALLOW_ALL, TRANSPORTS, Server
from tests.e2e.triton_conversations import KINDS, public_methods, talk
from tests.e2e.triton_methods import METHODS
from tests.server.rpc.doubles import Asks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

Metadata = list[dict[str, str | bytes]]


@pytest.fixture(scope="module", params=TRANSPORTS)
def noting(request: pytest.FixtureRequest, models: Path) -> Iterator[tuple[Server, Metadata]]:
    """A server of this module that notes the metadata of every call, in the order they come."""
    seen: Metadata = []

    def note(_method: str, sent: Sequence[tuple[str, Any]], _peer: str) -> None:
        seen.append(dict(sent))

    with Server(models, request.param, access_control=Asks(note), **ALLOW_ALL) as running:
        yield running, seen


@pytest.mark.parametrize("kind", KINDS)
def test_every_public_method_is_covered(kind: str) -> None:
    """A new release of tritonclient with a new method fails here until somebody looks at it."""
    assert public_methods(kind) == set(METHODS[kind])


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in METHODS[kind]])
def test_the_method_works(
    noting: tuple[Server, Metadata], record_property: Callable[[str, object], None], kind: str, name: str
) -> None:
    """As tritonclient's users call it."""
    record_property(WHAT, f"{kind}: {name}()")
    server, seen = noting
    talk(kind, server, METHODS[kind][name], seen)
    server.assert_well()
