"""The health states of ``grpc.health.v1``: the server as "", each model by its name. Registers nothing with grpc.

Each answer is computed from the registry; only the open watches are stored. A watch holds no thread: one notifier
thread wakes on changes and sends each watcher its new state. A watcher that does not read is cancelled after a second,
so that it delays neither the others nor the thread that loads models.

    registry's loader thread --(name changed)--> due --> notifier thread --> senders --> send(status)
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol

import grpc
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2 import HealthCheckResponse

from sardonyx_server.errors import InvalidRequest, NotFound, Overloaded, ShuttingDown
from sardonyx_server.text import quoted
from sardonyx_wire.messages import SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from sardonyx_server.engine.models.registry import Registry

__all__ = ["SERVER_NAMES", "Health", "WatchContext"]

_LOG = logging.getLogger("sardonyx.rpc")

SERVER_NAMES: Final = frozenset({"", SERVICE})
"""Names that mean the whole server. grpc clients with built-in health checks ask for the service that they call."""

# Limits, since a caller chooses how many watches it opens and which name each one keeps in memory.
_WATCHERS: Final = 10_000
_NAME_CHARACTERS: Final = 1024
# Number of watchers that are served at the same time, and how long each may take to accept some bytes.
_SENDERS: Final = 8
_SEND_TIMEOUT_S: Final = 1.0
_CLOSE_TIMEOUT_S: Final = 5.0


class WatchContext(Protocol):
    """The part of ``grpc.ServicerContext`` that a watch uses."""

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Register a callback for the end of the call; False if the call has ended already."""
        ...

    def set_code(self, code: grpc.StatusCode) -> None:
        """Set the status code with which the call ends."""
        ...

    def set_details(self, details: str) -> None:
        """Set the status message with which the call ends."""
        ...

    def cancel(self) -> object:
        """End the call now; a blocked send returns."""
        ...


class _Watcher:
    __slots__ = ("context", "send", "sent", "service")

    def __init__(self, service: str, context: WatchContext, send: Callable[[HealthCheckResponse | None], None]) -> None:
        self.service = service
        self.context = context
        self.send = send
        self.sent: int | None = None


class Health:
    """Answers Check and List, and sends the responses of Watch. Any thread.

    Args:
        registry: The registry of models. Requires: it calls a listener after it shows the change.
        is_ready: Whether the server accepts requests.
        send_timeout_s: How long a watcher may take to accept a status before it is cancelled.
    """

    def __init__(
        self, registry: Registry, is_ready: Callable[[], bool], *, send_timeout_s: float = _SEND_TIMEOUT_S
    ) -> None:
        self._registry = registry
        self._is_ready = is_ready
        self._send_timeout_s = send_timeout_s
        self._draining = False
        self._closed = False
        self._changed = threading.Condition()
        self._watchers: set[_Watcher] = set()
        self._due: dict[_Watcher, None] = {}
        self._senders = ThreadPoolExecutor(_SENDERS, thread_name_prefix="health-send")
        self._notifier = threading.Thread(target=self._notify, name="health", daemon=True)
        self._notifier.start()
        registry.subscribe(self._model_changed)

    def check(self, service: str) -> HealthCheckResponse:
        """The health of the server ("") or of a model. Does not block.

        Raises:
            NotFound: No model has that name.
        """
        if service in SERVER_NAMES:
            ready = self._is_ready()
        else:
            try:
                ready = self._registry.is_ready(service)
            except NotFound as error:
                raise NotFound(
                    f"unknown service {quoted(service)}: expected the name of a model, or an empty one for the server"
                ) from error
        serving = ready and not self._draining
        return HealthCheckResponse(status=HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING)

    def check_all(self) -> Message:
        """The health of the server and of every model: a ``HealthListResponse``, which older packages lack."""
        statuses = {"": self.check("")}
        for name in self._registry.entries():
            with suppress(NotFound):  # removed meanwhile
                statuses[name] = self.check(name)
        file: Any = health_pb2.DESCRIPTOR  # the stubs have two incompatible classes of descriptors
        return GetMessageClass(file.message_types_by_name["HealthListResponse"])(statuses=statuses)

    def watch(self, service: str, context: WatchContext, send: Callable[[HealthCheckResponse | None], None]) -> None:
        """Send the health of a service now and at each change, until the call ends. Does not block.

        Args:
            service: As in :meth:`check`; an unknown one is SERVICE_UNKNOWN until it appears.
            context: Context of the call.
            send: Sends a response; None ends the call. May block; called on a thread of this object.

        Raises:
            InvalidRequest: The name is longer than that of any model.
            Overloaded: Too many watches are open.
            ShuttingDown: The server is stopping.
        """
        if len(service) > _NAME_CHARACTERS:
            raise InvalidRequest(
                f"service {quoted(service)}: expected the name of a model, of {_NAME_CHARACTERS:,} characters at most",
                field="service",
            )
        watcher = _Watcher(service, context, send)
        with self._changed:
            if self._closed:
                raise ShuttingDown("the server is stopping; watch another one")
            if len(self._watchers) >= _WATCHERS:
                raise Overloaded(
                    f"{_WATCHERS:,} health watches are open, the most this server keeps; call Check, or end some"
                )
            self._watchers.add(watcher)
        if context.add_callback(partial(self._forget, watcher)):
            self._wake(lambda each: each is watcher)
        else:
            self._forget(watcher)

    def refresh(self) -> None:
        """Check every watch again, for changes of ``is_ready`` without a change of a model. Does not block."""
        self._wake(lambda _each: True)

    def drain(self) -> None:
        """From now on report NOT_SERVING for everything. Does not block."""
        self._draining = True
        self.refresh()

    def close(self) -> None:
        """Send what is due, then end every watch. Blocks for some seconds at most; may be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._notifier.join(_CLOSE_TIMEOUT_S)
        self._senders.shutdown(wait=False, cancel_futures=True)

    def _model_changed(self, name: str) -> None:
        """Runs on the registry's loader thread; does not block."""
        self._wake(lambda each: each.service == name or each.service in SERVER_NAMES)

    def _wake(self, concerns: Callable[[_Watcher], bool]) -> None:
        with self._changed:
            self._due.update((watcher, None) for watcher in self._watchers if concerns(watcher))
            self._changed.notify()

    def _forget(self, watcher: _Watcher) -> None:
        """Runs on grpc's thread when the call has ended; does not block."""
        with self._changed:
            self._watchers.discard(watcher)
            self._due.pop(watcher, None)

    def _notify(self) -> None:
        """Serve the watchers that are due until this object is closed, then end all. Runs on the notifier thread."""
        while batch := self._next_batch():
            self._each(self._update, batch)
        with self._changed:
            left = iter(tuple(self._watchers))
        while batch := list(islice(left, _SENDERS)):
            self._each(self._end, batch)

    def _next_batch(self) -> list[_Watcher]:
        """Wait for watchers that are due. Blocks; empty if this object was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._due or self._closed)
            batch = list(islice(self._due, _SENDERS))
            for watcher in batch:
                del self._due[watcher]
            return batch

    def _each(self, act: Callable[[_Watcher], None], batch: list[_Watcher]) -> None:
        """Act on all watchers of a batch in parallel; cancel those that take too long or fail."""
        acts = {self._senders.submit(act, watcher): watcher for watcher in batch}
        done, late = wait(acts, timeout=self._send_timeout_s)
        failed = {future for future in done if future.exception() is not None}
        for future in failed:
            _LOG.error("a health watch could not be served", exc_info=future.exception())
        for future in failed | late:
            self._forget(acts[future])
            acts[future].context.cancel()

    def _update(self, watcher: _Watcher) -> None:
        """Send a changed state. Runs on a sender thread; may block until the watcher reads or is cancelled."""
        try:
            response = self.check(watcher.service)
        except NotFound:
            response = HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
        if response.status != watcher.sent:
            watcher.sent = response.status
            watcher.send(response)

    def _end(self, watcher: _Watcher) -> None:
        """End a watch. Runs on a sender thread."""
        watcher.context.set_code(grpc.StatusCode.UNAVAILABLE)
        watcher.context.set_details("the server is stopping; watch another one")
        watcher.send(None)
