"""A whole server in this process, and what tests ask of it: calls over its socket, its gauges, its golden answer."""

from __future__ import annotations

import re
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import grpc
import numpy as np

from sardonyx_server.app import App
from sardonyx_server.rpc.self_check import self_check
from sardonyx_server.settings import MIB, Settings
from sardonyx_wire.messages import METHODS
from tests.e2e.gates import Gate, GatedRuntime
from tests.e2e.messages import encoded, failure_of, infer_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from google.protobuf.message import Message

    from sardonyx_server.engine.running.model import Model
    from sardonyx_server.engine.telemetry.counters import Counters
    from sardonyx_wire.messages import ModelInferResponse
    from tests.e2e.gates import Hold
    from tests.e2e.messages import Failure

__all__ = [
    "ALLOW_ALL",
    "CALL_TIMEOUT_S",
    "INFER",
    "MESSAGE_LIMIT_BYTES",
    "SHORT_S",
    "TRANSPORTS",
    "Server",
    "assert_safe",
    "eventually",
]

TRANSPORTS: Final = ("lane", "grpcio")
INFER: Final = METHODS["ModelInfer"].path
# Far more than any call takes, on a busy machine too.
CALL_TIMEOUT_S: Final = 60.0
# A deadline that passes soon, though not before its request has come to the server, on a busy machine either.
SHORT_S: Final = 1.0
MESSAGE_LIMIT_BYTES: Final = 48 * MIB

ALLOW_ALL: Final[dict[str, Any]] = {
    "allow_admin": True,
    "allow_client_shm": True,
    "load_model": ("*",),
    "model_control_mode": "explicit",
}
"""Settings that are off by default: what callers may do once the operator allows it."""

_POLL_S: Final = 0.001
_UNLIMITED: Final = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))
_GOLDEN: Final = infer_request("affine", x=np.array([[0.1, 1e30, -7.0, 3e-8]], np.float32), request_id="golden")

# What the inside of a program looks like. Paths of this machine are looked for one by one: a caller's own name may hold
# slashes and be quoted back.
_INSIDE: Final = re.compile(r"Traceback|\.py\b|0x[0-9a-fA-F]{5}|\b[A-Z]\w*(?:Error|Exception)\b|::|<class|object at")
_PLACES: Final = (
    str(Path(__file__).parents[2]),
    sys.prefix,
    sys.base_prefix,
    tempfile.gettempdir(),
    str(Path.home()),
    "/dev/shm",  # noqa: S108  # looked for, not used
)


def eventually(holds: Callable[[], bool], what: str, *, timeout_s: float = 60.0) -> None:
    """Wait for something that no event tells of; fails after ``timeout_s``."""
    until_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until_s, f"after {timeout_s:g} s still not: {what}"
        time.sleep(_POLL_S)


class Server:
    """One server with a channel to it. A context manager.

    Args:
        repository: What it serves.
        transport: ``lane`` or ``grpcio``.
        self_check: Whether the lane works here.
        access_control: Asked first in every call; None = what the settings say.
        credentials: Of its channels, for TLS; None = plain.
        **settings: More of them.
    """

    def __init__(
        self,
        repository: Path,
        transport: Any,
        *,
        self_check: Callable[[], str] = self_check,
        access_control: Any = None,
        credentials: grpc.ChannelCredentials | None = None,
        **settings: Any,
    ) -> None:
        settings = {
            "grpc_port": 0,
            "metrics_port": None,
            "probe_budget_s": 0.05,
            "max_message_bytes": MESSAGE_LIMIT_BYTES,
            **settings,
        }
        self.app = App(
            Settings(model_repository=(repository,), transport=transport, **settings),
            self_check=self_check,
            access_control=access_control,
        )
        self.transport = transport
        self._credentials = credentials
        self.gate = Gate()
        self.app._loader._runtime = GatedRuntime(self.app._loader._runtime, self.gate)
        self._stopped = False
        self.channel: Any = None
        self._golden: bytes | None = None

    def __enter__(self) -> Self:
        self.app.start()
        self.channel = self.new_channel()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.channel.close()
        self.stop(5.0)

    def stop(self, timeout_s: float) -> bool:
        """Drain and stop; once, a second time does nothing."""
        if self._stopped:
            return True
        self._stopped = True
        return self.app.drain_and_stop(timeout_s)

    def new_channel(self, *options: tuple[str, Any]) -> Any:  # a grpc.Channel, whose stubs want serializers
        """One more connection."""
        options = (*_UNLIMITED, ("grpc.use_local_subchannel_pool", 1), *options)
        if self._credentials is None:
            return grpc.insecure_channel(self.app.address, options=options)
        return grpc.secure_channel(self.app.address, self._credentials, options=options)

    def raw(self, path: str, message: Message | bytes, **more: Any) -> bytes:
        """Call any method with any bytes."""
        more.setdefault("timeout", CALL_TIMEOUT_S)
        answer: bytes = self.channel.unary_unary(path)(encoded(message), **more)
        return answer

    def call(self, rpc: str, message: Message | bytes = b"", **more: Any) -> Any:
        """Call an RPC of the inference service."""
        method = METHODS[rpc]
        return method.response.FromString(self.raw(method.path, message, **more))

    def infer(self, message: Message | bytes, **more: Any) -> ModelInferResponse:
        """Call ModelInfer."""
        answer: ModelInferResponse = self.call("ModelInfer", message, **more)
        return answer

    def start_infer(self, message: Message | bytes, *, channel: Any = None, **more: Any) -> Any:
        """Begin a ModelInfer; the future gives the bytes of its answer."""
        more.setdefault("timeout", CALL_TIMEOUT_S)
        return (channel or self.channel).unary_unary(INFER).future(encoded(message), **more)

    def refusal(self, message: Message | bytes, **more: Any) -> Failure:
        """Call ModelInfer, which must fail."""
        try:
            answer = self.infer(message, **more)
        except grpc.RpcError as error:
            return failure_of(error)
        raise AssertionError(f"expected a failure, got {len(answer.outputs)} outputs")

    def model(self, name: str) -> Model:
        """The newest version of a model."""
        return self.app.registry.get(name)

    def counters(self, name: str) -> Sequence[Counters]:
        """Counters of each runner of a model."""
        return self.model(name).counters

    def runs(self, name: str) -> int:
        """How often a model ran."""
        return sum(one.batches for one in self.counters(name))

    def runs_of(self, name: str, requests: int) -> int:
        """How many runs requests of one row become that wait together: how many fit into one is measured at load.

        Requires: one runner, whose full batch they do not exceed. On a busy machine a large one may have seemed dear.
        """
        return -(-requests // self.model(name)._policy.microbatch_rows)

    def gauges(self) -> dict[str, int]:
        """What is in flight or waits anywhere."""
        models = [
            status.model
            for entry in self.app.registry.entries().values()
            for status in entry.versions.values()
            if status.model is not None
        ]
        return {
            "open calls": self.app._transport.open_calls,
            "rows in queues": sum(model.queue.rows for model in models),
            "bytes in queues": sum(model.queue.message_bytes for model in models),
            "bytes of the budget": self.app._loader._budget.used_bytes,
        }

    def settle(self) -> None:
        """Wait until nothing is in flight and nothing waits."""
        eventually(lambda: not any(self.gauges().values()), "all gauges at 0")

    def assert_well(self) -> None:
        """Assert what must hold after every bad input: live, ready, nothing left behind, the same golden answer."""
        if self._golden is None:
            self._golden = self.infer(_GOLDEN).SerializeToString()
        assert self.call("ServerLive").live
        assert self.call("ServerReady").ready
        assert self.infer(_GOLDEN).SerializeToString() == self._golden
        self.settle()

    @contextmanager
    def holding(self, message: Message | bytes, model: str = "gate") -> Iterator[Hold]:
        """Keep a runner of ``model`` busy with this request until the context ends, or its ``release`` is called."""
        hold = self.gate.hold(model)
        call = self.start_infer(message)
        try:
            assert hold.entered.wait(CALL_TIMEOUT_S), "the run did not begin"
            yield hold
        finally:
            hold.release()
            call.result()


def assert_safe(failure: Failure) -> None:
    """Assert that a failure shows nothing of the server's inside, in its message or in its details."""
    texts = [failure.message]
    if failure.details is not None:
        assert failure.details.code == failure.code.value[0]
        assert failure.details.message == failure.message
        texts.append(str(failure.details))
    for text in texts:
        assert not _INSIDE.search(text), text
        assert not any(place in text for place in _PLACES if len(place) > 1), text
    assert failure.message.isprintable()
    assert len(failure.message.encode()) <= 1024
    assert sum(len(key) + len(value) for key, value in failure.trailing.items()) < 8000
