"""Single-flight execution: equal requests to one version are answered by one run, from the cache or by a run in flight.

Only for models whose config has ``response_cache { enable: true }``. Requests are equal if their inputs are
bit-identical and they request the same outputs; how they were sent (raw or typed, in which order), id, priority and
deadline do not matter. The first of them is the leader, the others are its followers. Each caller gets its own answer,
rendered for it. If the leader is cancelled or expires, a follower becomes the leader.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.batching.job import Job
from sardonyx_server.engine.requests.lazy_strings import LazyStringSlice
from sardonyx_server.engine.requests.outputs import RequestOutputs
from sardonyx_server.engine.shared_memory.region import DeferredRead
from sardonyx_server.engine.telemetry.counters import Counters
from sardonyx_server.engine.telemetry.tracing import Stage
from sardonyx_server.errors import Cancelled, DeadlineExceeded, QueueTimeout, ServerError
from sardonyx_wire.tensors import encode_bytes_elements

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sardonyx_server.engine.batching.queue import BatchQueue
    from sardonyx_server.engine.requests.outputs import Outputs
    from sardonyx_server.engine.requests.plan import Bucket
    from sardonyx_server.engine.response_cache.cache import ResponseCache
    from sardonyx_server.engine.telemetry.failures import Failures
    from sardonyx_wire.protobuf_fields import EncodedMessage

__all__ = ["SharedJob", "VersionCache"]

_LOG = logging.getLogger("sardonyx.engine")

_MIB: Final = 1024 * 1024
_KEY_BYTES: Final = 32
# blake2b hashes half a gigabyte a second (2026-11-24), and all other callers wait while the lane hashes.
_MAX_INPUT_BYTES: Final = 4 * _MIB
# Followers are not in the queue, so its bounds do not apply to them.
_MAX_FOLLOWERS: Final = 4096
# Errors that concern one request in the queue and not an equal one.
_INDIVIDUAL_ERRORS: Final = (Cancelled, DeadlineExceeded, QueueTimeout)


class SharedJob(Job):
    """A request of a model with a response cache.

    Attributes:
        cache: The cache of its version.
        key: Equal for equal requests; None for a request that is too large to be hashed.
        look_up_s: Time of the cache look-up.
        followers: Equal requests that wait for this one. Guarded by the lock of ``cache``.
    """

    __slots__ = ("cache", "followers", "key", "look_up_s")

    cache: VersionCache
    key: bytes | None
    look_up_s: float
    followers: list[SharedJob]

    def prepare(self, outputs: Outputs, start: int, counters: Counters) -> EncodedMessage | None:
        """Answer this request and then its followers, from the outputs of a run."""
        whole, followers = self.cache.complete(self, outputs, start)
        try:
            message = super().prepare(whole, 0, counters)
            if message is not None:
                self.call.reply(message)
        finally:
            for follower in followers:
                follower.answer_with(whole, counters.failures)
        return None

    def fail(self, error: Exception, failures: Failures) -> None:
        """Answer with an error. Followers get it as well, unless it concerns this request only."""
        # Before the answer, because its caller may retry at once and must not get the same failure.
        followers = self.cache.abort(self, error)
        super().fail(error, failures)
        for follower in followers:
            follower.fail(error, failures)

    def answer_with(self, whole: RequestOutputs, failures: Failures) -> None:
        """Answer from the outputs of an equal request. Never raises."""
        try:
            self.cache.answer(self, whole)
        except Exception as error:  # noqa: BLE001  # one answer that cannot be encoded must not cost the others
            if not isinstance(error, ServerError):
                _LOG.error("answering from a shared run failed", exc_info=error)
            self.fail(error, failures)

    def accepts_follower(self, other: SharedJob) -> bool:
        """Whether an equal request may follow this one: the queue must treat both alike."""
        plan, theirs = self.plan, other.plan
        return (
            len(self.followers) < _MAX_FOLLOWERS
            and plan.priority == theirs.priority
            and plan.timeout_s == theirs.timeout_s
        )


class VersionCache:
    """The response cache of one model version, with its requests in flight. Thread-safe.

    Args:
        store: The server's response cache.
        queue: The queue of the version.
        split: Splits a job into the parts to enqueue; may raise.
        failures: Counts the failed requests of the version.

    Attributes:
        counters: Counters of cache hits and misses; written under the lock only.
    """

    def __init__(
        self, store: ResponseCache, queue: BatchQueue, split: Callable[[Job], Sequence[Job]], failures: Failures
    ) -> None:
        self.counters = Counters(failures)
        self._store = store
        self._queue = queue
        self._split = split
        self._lock = threading.Lock()
        self._leaders: dict[bytes, SharedJob] = {}
        self._closed = False

    def submit(self, job: SharedJob, received_s: float | None = None) -> None:
        """Answer a request from the cache, let it follow an equal one, or enqueue it. Never blocks.

        Args:
            job: The request.
            received_s: When the request arrived, on ``time.monotonic``; None = now.

        Raises:
            Overloaded: A bound of the queue is reached. The call is not answered.
            QueueClosed: The version is draining. The call is not answered.
            ServerError: The cached outputs cannot be rendered as requested. The call is not answered.
        """
        began_s = time.monotonic()
        job.arrived_s = began_s if received_s is None else received_s
        job.cache, job.followers, job.look_up_s = self, [], 0.0
        job.key = key = _key(job)
        if key is None:
            self._queue.put(self._split(job), job.arrived_s)
            return
        # The queue's lock is taken within this one: a request must not follow one that the queue then refuses.
        with self._lock:
            whole = self._store.get(self, key)
            job.look_up_s = time.monotonic() - began_s
            if whole is None:
                leader = self._leaders.get(key)
                if leader is not None and leader.accepts_follower(job):
                    leader.followers.append(job)
                    # The leader has the same tensors: this request's message need not stay in memory.
                    job.tensors, job.message_bytes = (), 0
                    if job.trace is not None:
                        job.trace.mark(Stage.QUEUED)
                    return
                self._queue.put(self._split(job), job.arrived_s)
                self._leaders.setdefault(key, job)
                return
        self.answer(job, whole)

    def answer(self, job: SharedJob, whole: RequestOutputs) -> None:
        """Answer from the outputs of an equal request.

        Raises:
            ServerError: They cannot be rendered as requested. The call is not answered.
        """
        message = job.render(whole, 0)
        with self._lock:
            self.counters.hit(time.monotonic() - job.arrived_s, job.look_up_s, streamed=job.call.streamed)
        job.call.reply(message)

    def complete(self, job: SharedJob, outputs: Outputs, start: int) -> tuple[RequestOutputs, list[SharedJob]]:
        """Take the outputs of a run, and store them if they fit.

        Returns:
            (outputs of this request, its followers, which are to be answered from them).
        """
        whole = RequestOutputs(
            outputs.row_shapes, outputs.rows(start, start + job.rows), began_s=outputs.began_s, ran_s=outputs.ran_s
        )
        began_s = time.monotonic()
        stores = job.key is not None and self._store.fits(whole)
        if stores:
            # Views would keep the whole batch in memory.
            whole = whole.copy()
        with self._lock:
            if stores and job.key is not None and not self._closed:
                self._store.put(self, job.key, whole)
            self.counters.missed(job.look_up_s + time.monotonic() - began_s)
            return whole, self._release(job)

    def abort(self, job: SharedJob, error: Exception) -> list[SharedJob]:
        """Handle a failed leader. If the error concerns it alone, its first follower is enqueued as the new leader.

        Returns:
            The followers that share the error.
        """
        with self._lock:
            followers = self._release(job)
            if not followers or not isinstance(error, _INDIVIDUAL_ERRORS):
                return followers
            # If the follower has been cancelled as well, the queue drops it, and the next one becomes the leader.
            leader, *leader.followers = followers
            leader.tensors, leader.message_bytes = job.tensors, job.message_bytes
            if TYPE_CHECKING:
                assert leader.key is not None
            self._leaders[leader.key] = leader
            self._queue.requeue(self._split(leader))
            return []

    def close(self) -> None:
        """Remove all answers of this version, and store no more."""
        with self._lock:
            self._closed = True
            self._store.drop(self)

    def _release(self, job: SharedJob) -> list[SharedJob]:
        """Remove a job as leader, if it is one, and return its followers. Requires: the lock is held."""
        if job.key is not None and self._leaders.get(job.key) is job:
            del self._leaders[job.key]
        followers, job.followers = job.followers, []
        return followers


def _key(job: Job) -> bytes | None:
    """Return the cache key of a request: equal exactly for equal requests. None if computing it would take too long.

    It is a cryptographic hash. With any other, a caller could construct a request that gets the outputs of another.
    """
    bucket = job.plan.bucket
    size = max(job.message_bytes, job.rows * sum(feed.row_bytes for feed in bucket.feeds))
    if size > _MAX_INPUT_BYTES:
        return None
    digest = (bucket.digest or _bucket_digest(bucket)).copy()
    digest.update(job.rows.to_bytes(8))
    # Read shared memory now, so that the key matches what runs even if the client changes its memory afterwards.
    job.tensors = tensors = [tensor.copy() if isinstance(tensor, DeferredRead) else tensor for tensor in job.tensors]
    for tensor in tensors:
        data = encode_bytes_elements(tensor) if isinstance(tensor, list) else tensor
        if isinstance(data, LazyStringSlice):
            if data.raw is None:
                return None  # Encoding so many strings takes this thread as long as decoding them.
            data = data.raw  # Identical to the encoded strings.
        # Each prefixed with its length, so that different lists of inputs never give the same bytes.
        digest.update(len(data).to_bytes(8))
        digest.update(data)
    return digest.digest()


def _bucket_digest(bucket: Bucket) -> hashlib.blake2b:
    """Start the digest with the bucket: names and row shapes of the inputs in graph order, and the outputs."""
    form = ([(feed.name, feed.row_shape) for feed in bucket.feeds], bucket.output_names)
    bucket.digest = digest = hashlib.blake2b(repr(form).encode(), digest_size=_KEY_BYTES)
    return digest
