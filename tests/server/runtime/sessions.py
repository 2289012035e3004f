"""Opens the small models of the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sardonyx_server.errors import LoadFailed
from sardonyx_server.runtime.ort_session import OrtSession
from sardonyx_server.runtime.session import open_session

if TYPE_CHECKING:
    from numpy.typing import NDArray


def opened(model_bytes: bytes, **arguments: Any) -> OrtSession:
    """A session for model 'm'."""
    return open_session(name="m", model_bytes=model_bytes, **arguments)


def run(session: OrtSession, **feeds: NDArray[Any]) -> NDArray[Any]:
    """The output y."""
    return session.run(["y"], feeds)[0]


def load_message(model_bytes: bytes) -> str:
    """What an operator reads where it does not load."""
    with pytest.raises(LoadFailed) as caught:
        opened(model_bytes)
    return caught.value.message
