"""The bar of shared memory: an image that the server reads from the caller's memory, compared with sending it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Final

import grpc

from bench.arms import Arm, fetch_answer, measure_in_turns
from bench.bars import Bar, Outcome
from bench.cases import CaseMissing, make
from bench.limits.reference import ReferenceModel, WrongAnswer
from bench.load.result import Streams
from bench.serving import serving
from bench.testbed import Plan, ratios, turns_as_json
from sardonyx_wire.messages import METHODS, ModelInferRequest, SystemSharedMemoryRegisterRequest

__all__ = ["FOLDER", "SHM", "named", "region", "shm"]

SHM: Final = Bar(name="602 kB in by shared memory, 4x4, of the rate of sending it", target=3.0)

_STREAMS: Final = Streams(connections=4, streams=4)
_REGION: Final = "bench"
FOLDER: Final = Path("/dev/shm")  # noqa: S108  # Linux keeps POSIX shared memory objects there
_TIMEOUT_S: Final = 20.0
_WRITES: Final = 200
_US: Final = 1e6


def shm(plan: Plan) -> list[Outcome]:
    """One server, one generator, messages made beforehand: they hold the image, or name the region it lies in."""
    if not FOLDER.is_dir():
        raise CaseMissing(f"POSIX shared memory: this system has no {FOLDER}")
    case = make("image", plan.folder)
    (image,) = ModelInferRequest.FromString(case.request).raw_input_contents
    messages = {"sent": case.request, "named": named(case.request, len(image))}
    with ExitStack() as stack:
        server = stack.enter_context(serving(case.repository, settings={"allow_client_shm": True}))
        place = stack.enter_context(region(server.address, image))
        write_s = _write_s(place, image)
        answers = {name: fetch_answer(server.address, message) for name, message in messages.items()}
        ReferenceModel(case).check(answers["sent"])
        if answers["named"] != answers["sent"]:
            raise WrongAnswer("the answer to an image in shared memory is another one than to the same image sent")
        arms = [
            Arm(
                name,
                server,
                model=case.name,
                request=message,
                answer_bytes=len(answers[name]),
                streams=_STREAMS,
                generator=plan.generator,
            )
            for name, message in messages.items()
        ]
        turns = list(measure_in_turns(arms, turns=plan.turns, seconds=plan.seconds))
    rates = ", ".join(f"{name} {median(turn[name].load.rate for turn in turns):,.0f}/s" for name in turns[0])
    return [
        Outcome(
            bar=SHM,
            values=ratios(turns, "sent", arm="named"),
            remark=f"{rates}; the image lies in the region all the time, for a caller to write it there takes "
            f"{write_s * _US:,.0f} us",
            details={"turns": turns_as_json(turns), "write_s": write_s},
        )
    ]


def named(sent: bytes, size: int) -> bytes:
    """The same request with its one input in the region."""
    request = ModelInferRequest.FromString(sent)
    del request.raw_input_contents[:]
    parameters = request.inputs[0].parameters
    parameters["shared_memory_region"].string_param = _REGION
    parameters["shared_memory_byte_size"].int64_param = size
    return request.SerializeToString()


@contextmanager
def region(address: str, contents: bytes) -> Iterator[Path]:
    """The file of an object of shared memory, registered with the server."""
    path = FOLDER / f"sardonyx_bench_{os.getpid()}"
    path.write_bytes(contents)
    try:
        request = SystemSharedMemoryRegisterRequest(name=_REGION, key=f"/{path.name}", byte_size=len(contents))
        with grpc.insecure_channel(address) as channel:
            register: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                METHODS["SystemSharedMemoryRegister"].path
            )
            register(request.SerializeToString(), timeout=_TIMEOUT_S)
        yield path
    finally:
        path.unlink()


def _write_s(region: Path, image: bytes) -> float:
    """Median seconds of writing the same image there again."""
    found = []
    with region.open("r+b", buffering=0) as file:
        for _ in range(_WRITES):
            began_s = time.perf_counter()
            file.seek(0)
            file.write(image)
            found.append(time.perf_counter() - began_s)
    return median(found)
