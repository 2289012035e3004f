"""The sweep: each of ONNX's node tests, served and asked over the wire, held against onnxruntime asked directly."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc

from sardonyx_wire.messages import ModelInferRequest
from tests.conformance.contents import contents_received, put, put_typed
from tests.conformance.direct import NotRunnable, answers
from tests.conformance.onnx_cases import NodeCase, Skipped, Why
from tests.e2e.models import Folder, write
from tests.e2e.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.conformance.contents import Contents

__all__ = ["Expected", "Sweep", "expect", "served", "sweep"]

# Of the models that one server holds at a time: each has a session, a runner and a file.
_GROUP: Final = 250
# Whoever sends the same numbers under a longer id moves them within the message, to addresses that differ by so much.
_ID_LENGTHS: Final = 16
# They have no typed form.
_RAW_ONLY: Final = frozenset({"BF16", "FP16"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What onnxruntime answers by itself.

    Attributes:
        answers: Each case that runs, with the outputs to each of its requests.
        skipped: The other cases, with the reason.
    """

    answers: tuple[tuple[NodeCase, list[list[Contents]]], ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What came out.

    Attributes:
        ran: Cases whose every answer was the same, bit for bit.
        failures: A line for each case that was answered in another way, or not.
    """

    ran: tuple[str, ...]
    failures: tuple[str, ...]


def expect(cases: Sequence[NodeCase | Skipped]) -> Expected:
    """Ask onnxruntime directly. Blocks for some seconds."""
    ran: list[tuple[NodeCase, list[list[Contents]]]] = []
    skipped = [case for case in cases if isinstance(case, Skipped)]
    for case in cases:
        if isinstance(case, NodeCase):
            try:
                ran.append((case, answers(case)))
            except NotRunnable as error:
                skipped.append(Skipped(name=case.name, why=Why.ONNXRUNTIME, reason=str(error), model=case.model))
    return Expected(answers=tuple(ran), skipped=tuple(skipped))


def sweep(expected: Expected, transport: str) -> Sweep:
    """Serve every case that runs, ask, and compare. Blocks: ten seconds or so for all of them.

    Args:
        expected: What the answers must be.
        transport: ``lane`` or ``grpcio``.
    """
    ran: list[str] = []
    failures: list[str] = []
    for start in range(0, len(expected.answers), _GROUP):
        group = expected.answers[start : start + _GROUP]
        with served([case for case, _ in group], transport) as server:
            for case, wanted in group:
                problem = _ask(server, case, wanted)
                if problem:
                    failures.append(f"{case.name}: {problem}")
                else:
                    ran.append(case.name)
    return Sweep(ran=tuple(ran), failures=tuple(failures))


@contextmanager
def served(cases: Sequence[NodeCase | Skipped], transport: str) -> Iterator[Server]:
    """A server with the models of these cases, under their names; those it refuses are there too."""
    with tempfile.TemporaryDirectory(prefix="sweep-") as place:
        repository = write([Folder(name=case.name, data=case.model) for case in cases], Path(place))
        # One core: a session then has one thread, as the one it is compared with. Nothing is measured.
        with Server(repository, transport, probe_budget_s=0.0, cores=1, strict_readiness=False) as server:
            yield server


def _ask(server: Server, case: NodeCase, expected: Sequence[Sequence[Contents]]) -> str:
    """Send each request of a case in every form; "" where all is the same, or what is not."""
    for inputs, wanted in zip(case.requests, expected, strict=True):
        for form, message in _messages(case, inputs):
            problem = _ask_once(server, case, message, wanted)
            if problem:
                return f"{form}: {problem}"
    return ""


def _messages(case: NodeCase, inputs: Mapping[str, Contents]) -> Iterator[tuple[str, ModelInferRequest]]:
    """The same request with raw contents, under ids of two lengths, and with typed ones where they exist."""
    for length in (0, 1 + len(case.name) % _ID_LENGTHS):
        message = ModelInferRequest(model_name=case.name, id="x" * length)
        for name, contents in inputs.items():
            put(message, name, contents)
        yield f"raw, id of {length} bytes", message
    if inputs and all(contents.datatype not in _RAW_ONLY for contents in inputs.values()):
        message = ModelInferRequest(model_name=case.name, id="typed")
        for name, contents in inputs.items():
            put_typed(message, name, contents)
        yield "typed", message


def _ask_once(server: Server, case: NodeCase, message: ModelInferRequest, wanted: Sequence[Contents]) -> str:
    try:
        response = server.infer(message)
    except grpc.RpcError as error:
        call: Any = error  # grpc's stubs do not say that it is also the call
        return f"{call.code().name}: {call.details()}"
    if (response.model_name, response.id) != (case.name, message.id):
        return f"answered as {response.model_name!r}, id {response.id!r}"
    if [output.name for output in response.outputs] != list(case.outputs):
        return f"outputs {[output.name for output in response.outputs]}, expected {list(case.outputs)}"
    for name, got, want in zip(case.outputs, contents_received(response), wanted, strict=True):
        if got != want:
            return f"output {name!r}: {got.describe()}, expected {want.describe()}"
    return ""
