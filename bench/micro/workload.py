"""The workload of the micro benchmarks: requests as they arrive, and the server's objects for them. Times nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bench.cases import make
from sardonyx_server.engine.batching.job import Job
from sardonyx_server.engine.batching.policy import BatchPolicy, QueuePolicy
from sardonyx_server.engine.requests.plan import Plan, Tensor
from sardonyx_server.engine.requests.signature import Signature
from sardonyx_wire.protobuf_fields import EncodedMessage
from sardonyx_wire.request_reader import RequestReader
from sardonyx_wire.tensors import TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NAMES", "Caller", "Workload", "workload"]

NAMES: Final = ("iris", "mlp", "image")
"""16 bytes in and 20 out; 1 kB in and out; 602 kB in and 12 bytes out."""

# Model -> (inputs, outputs) as its graph declares them, the batch axis first.
_SIGNATURES: Final = {
    "iris": (
        (TensorSpec(name="X", datatype="FP32", shape=(-1, 4)),),
        (
            TensorSpec(name="label", datatype="INT64", shape=(-1,)),
            TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 3)),
        ),
    ),
    "mlp": (
        (TensorSpec(name="x", datatype="FP32", shape=(-1, 256)),),
        (TensorSpec(name="y", datatype="FP32", shape=(-1, 256)),),
    ),
    "image": (
        (TensorSpec(name="x", datatype="FP32", shape=(-1, 3, 224, 224)),),
        (TensorSpec(name="y", datatype="FP32", shape=(-1, 3)),),
    ),
}
_DTYPES: Final[dict[str, type[np.generic]]] = {"FP32": np.float32, "INT64": np.int64}
_QUEUE_ROWS: Final = 8192
_QUEUE_BYTES: Final = 2**30


class Caller:
    """A call that keeps its last answer. Implements ``engine.call.Call``."""

    deadline_s = math.inf
    cancelled = False
    streamed = False
    metadata: Sequence[tuple[str, str | bytes]] = ()

    def __init__(self) -> None:
        self.answer: EncodedMessage = b""
        self.error: Exception | None = None

    def peer(self) -> str:
        """Nobody in particular."""
        return "ipv4:127.0.0.1:1"

    def watch(self) -> None:
        """It never goes away."""

    def reply(self, message: EncodedMessage) -> None:
        """Keep the answer."""
        self.answer = message

    def fail(self, error: Exception) -> None:
        """Keep the error."""
        self.error = error


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One model's requests.

    Attributes:
        name: Name of the model.
        message: A serialised request of one row, the one that the loads of ``bench/`` send.
        row: Input -> array [1, ...].
        signature: As the server makes it at load.
    """

    name: str
    message: bytes
    row: dict[str, NDArray[Any]]
    signature: Signature

    def checked(self) -> tuple[Plan, Sequence[Tensor]]:
        """The request as the signature has checked it: what enters the queue."""
        header, _, payloads = RequestReader().decode(self.message)
        return self.signature.check(header, payloads)

    def jobs(self, count: int) -> list[Job]:
        """A number of equal requests, as distinct objects with distinct callers."""
        reader, jobs = RequestReader(), []
        for _ in range(count):
            message = bytes(bytearray(self.message))  # bytes of its own, as each request on the wire has
            header, id_field, payloads = reader.decode(message)
            plan, tensors = self.signature.check(header, payloads)
            jobs.append(Job(Caller(), plan, plan.rows, tensors, id_field, len(message)))
        return jobs

    def outputs(self, rows: int) -> list[NDArray[Any]]:
        """Outputs of a run of the model; every element equals its index."""
        return [
            np.arange(rows * math.prod(spec.shape[1:]), dtype=_DTYPES[spec.datatype]).reshape(rows, *spec.shape[1:])
            for spec in self.signature.outputs
            if spec.shape is not None
        ]

    def policy(self, max_rows: int) -> BatchPolicy:
        """Greedy batching, as models without a word in their config have it."""
        return BatchPolicy(
            has_batch_axis=True,
            max_rows=max_rows,
            microbatch_rows=max_rows,
            dynamic_batching=True,
            levels={1: QueuePolicy()},
            queue_rows=_QUEUE_ROWS,
            queue_bytes=_QUEUE_BYTES,
        )


def workload(name: str, folder: Path) -> Workload:
    """The requests of a model of :data:`~bench.cases.CASES`.

    Args:
        name: One of :data:`NAMES`.
        folder: Where its repository is laid out.
    """
    case = make(name, folder)
    inputs, outputs = _SIGNATURES[name]
    return Workload(
        name=name,
        message=case.request,
        row=dict(case.row),
        signature=Signature(model_name=name, version=1, inputs=inputs, outputs=outputs, has_batch_axis=True),
    )
