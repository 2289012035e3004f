"""Equal requests to one version answered by one run: from what is kept of an earlier one, or along with one under way.

Only for models whose config has ``response_cache { enable: true }``. Requests are equal where their inputs are, bit for
bit, and the outputs asked for; how they were sent (raw or typed, in which order), id, priority and deadline do not
matter. Each caller has its own answer, rendered for it, and its own fate: if the one that went ahead gives up, another
takes its place.
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
# blake2b takes in half a gigabyte a second (2026-11-24), and while the lane hashes all other callers wait.
_MAX_INPUT_BYTES: Final = 4 * _MIB
# Requests that wait along with another are not in the queue, whose bounds do not hold them.
_MAX_FOLLOWERS: Final = 4096
# Errors that one request meets in the queue and that say nothing about an equal one.
_PERSONAL: Final = (Cancelled, DeadlineExceeded, QueueTimeout)


class SharedJob(Job):
    """A request of a model with a response cache.

    Attributes:
        cache: Of its version.
        key: What equal requests have in common; None for one that is too large to be looked at.
        look_up_s: How long the cache looked for its answer.
        followers: Equal requests that wait for this one. Only touched under the lock of ``cache``.
    """

    __slots__ = ("cache", "followers", "key", "look_up_s")

    cache: VersionCache
    key: bytes | None
    look_up_s: float
    followers: list[SharedJob]

    def prepare(self, outputs: Outputs, start: int, counters: Counters) -> EncodedMessage | None:
        """Answer from the outputs of a run, and then all that follow this request with it."""
        whole, followers = self.cache.land(self, outputs, start)
        try:
            message = super().prepare(whole, 0, counters)
            if message is not None:
                self.call.reply(message)
        finally:
            for follower in followers:
                follower.answer_with(whole, counters.failures)
        return None

    def fail(self, error: Exception, failures: Failures) -> None:
        """Answer with an error. Those that follow share it, unless it is this request's own."""
        # Before the answer: who has it may ask again at once, and must not be told of the same failure.
        followers = self.cache.give_up(self, error)
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

    def takes(self, other: SharedJob) -> bool:
        """Whether an equal request may wait for this one: what the queue does to one must be right for both."""
        plan, theirs = self.plan, other.plan
        return (
            len(self.followers) < _MAX_FOLLOWERS
            and plan.priority == theirs.priority
            and plan.timeout_s == theirs.timeout_s
        )


class VersionCache:
    """The response cache as one version of a model sees it. Thread-safe.

    Args:
        kept: The server's cache.
        queue: Of the version.
        cut: Job -> the parts of it that go into the queue; raises where there would be too many.
        failures: Where the version's failed requests are counted.

    Attributes:
        counters: Of what the cache answered; written under the lock only.
    """

    def __init__(
        self, kept: ResponseCache, queue: BatchQueue, cut: Callable[[Job], Sequence[Job]], failures: Failures
    ) -> None:
        self.counters = Counters(failures)
        self._kept = kept
        self._queue = queue
        self._cut = cut
        self._lock = threading.Lock()
        self._leaders: dict[bytes, SharedJob] = {}
        self._closed = False

    def submit(self, job: SharedJob, received_s: float | None = None) -> None:
        """Answer a request, let it wait for an equal one, or put it into the queue. Never blocks.

        Args:
            job: The request.
            received_s: When it came, on ``time.monotonic``; None = now.

        Raises:
            Overloaded: A bound of the queue is reached; the call is not answered.
            QueueClosed: The version drains; likewise.
            ServerError: What is kept cannot be rendered as the request asks; likewise.
        """
        began_s = time.monotonic()
        job.arrived_s = began_s if received_s is None else received_s
        job.cache, job.followers, job.look_up_s = self, [], 0.0
        job.key = key = _key(job)
        if key is None:
            self._queue.put(self._cut(job), job.arrived_s)
            return
        # The queue's lock is taken within: an equal request must not follow one that the queue then refuses.
        with self._lock:
            whole = self._kept.get(self, key)
            job.look_up_s = time.monotonic() - began_s
            if whole is None:
                leader = self._leaders.get(key)
                if leader is not None and leader.takes(job):
                    leader.followers.append(job)
                    # The leader's are the same: this request's message need not stay in memory.
                    job.tensors, job.message_bytes = (), 0
                    if job.trace is not None:
                        job.trace.mark(Stage.QUEUED)
                    return
                self._queue.put(self._cut(job), job.arrived_s)
                self._leaders.setdefault(key, job)
                return
        self.answer(job, whole)

    def answer(self, job: SharedJob, whole: RequestOutputs) -> None:
        """Answer from the outputs of an equal request.

        Raises:
            ServerError: They cannot be rendered as the request asks; the call is not answered.
        """
        message = job.render(whole, 0)
        with self._lock:
            self.counters.hit(time.monotonic() - job.arrived_s, job.look_up_s, streamed=job.call.streamed)
        job.call.reply(message)

    def land(self, job: SharedJob, outputs: Outputs, start: int) -> tuple[RequestOutputs, list[SharedJob]]:
        """Take the outputs of a run in.

        Returns:
            (this request's share of them, those that followed it and are to be answered from that).
        """
        whole = RequestOutputs(
            outputs.row_shapes, outputs.rows(start, start + job.rows), began_s=outputs.began_s, ran_s=outputs.ran_s
        )
        began_s = time.monotonic()
        keeps = job.key is not None and self._kept.fits(whole)
        if keeps:
            # Views would keep the whole batch in memory.
            whole = whole.copy()
        with self._lock:
            if keeps and job.key is not None and not self._closed:
                self._kept.put(self, job.key, whole)
            self.counters.missed(job.look_up_s + time.monotonic() - began_s)
            return whole, self._release(job)

    def give_up(self, job: SharedJob, error: Exception) -> list[SharedJob]:
        """A request has failed; where the error is its own, the next of those that followed it goes ahead.

        Returns:
            Those that share the error.
        """
        with self._lock:
            followers = self._release(job)
            if not followers or not isinstance(error, _PERSONAL):
                return followers
            # It may have given up, too: then the queue finds that out, and the one behind it goes ahead.
            heir, *heir.followers = followers
            heir.tensors, heir.message_bytes = job.tensors, job.message_bytes
            if TYPE_CHECKING:
                assert heir.key is not None
            self._leaders[heir.key] = heir
            self._queue.requeue(self._cut(heir))
            return []

    def close(self) -> None:
        """Forget all answers of this version, and keep none any more."""
        with self._lock:
            self._closed = True
            self._kept.drop(self)

    def _release(self, job: SharedJob) -> list[SharedJob]:
        """End the lead of a job, if it has it; returns who followed. Has the lock."""
        if job.key is not None and self._leaders.get(job.key) is job:
            del self._leaders[job.key]
        followers, job.followers = job.followers, []
        return followers


def _key(job: Job) -> bytes | None:
    """What equal requests of one version have in common and others have not; None where it would take too long.

    A cryptographic hash: with any other, a caller could make up a request that is answered with another's outputs.
    """
    bucket = job.plan.bucket
    size = max(job.message_bytes, job.rows * sum(feed.row_bytes for feed in bucket.feeds))
    if size > _MAX_INPUT_BYTES:
        return None
    digest = (bucket.digest or _begin(bucket)).copy()
    digest.update(job.rows.to_bytes(8))
    # What the key says is what runs: it is read now, whatever the client does to its memory afterwards.
    job.tensors = tensors = [tensor.copy() if isinstance(tensor, DeferredRead) else tensor for tensor in job.tensors]
    for tensor in tensors:
        data = encode_bytes_elements(tensor) if isinstance(tensor, list) else tensor
        if isinstance(data, LazyStringSlice):
            if data.raw is None:
                return None  # To encode so many takes this thread as long as to decode them.
            data = data.raw  # What it would be encoded to again.
        # Each with its length, so that no two lists of inputs are the same bytes.
        digest.update(len(data).to_bytes(8))
        digest.update(data)
    return digest.digest()


def _begin(bucket: Bucket) -> hashlib.blake2b:
    """The digest of a form: inputs in the graph's order with their dimensions, and outputs."""
    form = ([(feed.name, feed.row_shape) for feed in bucket.feeds], bucket.output_names)
    bucket.digest = digest = hashlib.blake2b(repr(form).encode(), digest_size=_KEY_BYTES)
    return digest
