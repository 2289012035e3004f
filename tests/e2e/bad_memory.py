"""Bad requests about classes and shared memory: rows of the table. Sends nothing.

The server allows shared memory, and nobody has registered any region.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc

from sardonyx_wire.messages import (
    METHODS,
    CudaSharedMemoryStatusRequest,
    SystemSharedMemoryRegisterRequest,
    SystemSharedMemoryStatusRequest,
)
from tests.e2e.bad_request import BadRequest, affine, text
from tests.e2e.memory import in_region, without_data

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_wire.messages import ModelInferRequest

__all__ = ["classes", "memory"]

_NO_MESSAGE: Final = b"\x0a\xff"  # a string that is longer than the message
_RPCS: Final = [name for name in METHODS if "SharedMemory" in name]


def classes() -> list[BadRequest]:
    """Rows about ``classification``."""

    def row(key: str, make: Callable[[], ModelInferRequest], pattern: str) -> BadRequest:
        return BadRequest(
            id=f"classification-{key}",
            make=make,
            pattern=pattern,
            field="outputs[0].parameters[classification]",
        )

    whole = r"^parameter 'classification' of output 'y' of model 'affine': expected an integer of at least 1, got {}$"
    numbers = r"^parameter 'classification' of output 'y' of model '{}': expected an output of numbers, but it is {}$"
    return [
        row("0", lambda: classified(affine(), int64_param=0), whole.format("0")),
        row("negative", lambda: classified(affine(), int64_param=-(2**63)), whole.format("-9223372036854775808")),
        row("text", lambda: classified(affine(), string_param="3"), whole.format("str")),
        row("bool", lambda: classified(affine(), bool_param=True), whole.format("True")),
        row("float", lambda: classified(affine(), double_param=3.0), whole.format("3.0")),
        row(
            "of-text",
            lambda: classified(text(bytes(12)), int64_param=1),
            numbers.format("identity_bytes", "BYTES"),
        ),
        row(
            "in-memory",
            lambda: classified(output_in("r", 16), int64_param=1),
            r"^output 'y' of model 'affine' cannot have both 'classification' and 'shared_memory_region': take",
        ),
        BadRequest(
            id="classification-of-an-input",
            make=lambda: with_input_parameter("classification", int64_param=1),
            pattern=r"^parameter 'classification' of input 'x' of model 'affine': only outputs can be classified$",
            field="inputs[0].parameters[classification]",
        ),
    ]


def memory() -> list[BadRequest]:
    """Rows about regions: those of requests, and the RPCs that register them."""
    unknown = r"^unknown shared memory region '{}': register it first$"
    return [
        *_places(),
        BadRequest(
            id="memory-unknown-region-of-an-input",
            make=lambda: input_in("nobody", 16),
            pattern=unknown.format("nobody"),
            code=grpc.StatusCode.NOT_FOUND,
        ),
        BadRequest(
            id="memory-unknown-region-of-an-output",
            make=lambda: output_in("nobody", 16),
            pattern=unknown.format("nobody"),
            code=grpc.StatusCode.NOT_FOUND,
        ),
        BadRequest(
            id="memory-region-1-mb",
            make=lambda: input_in("n" * 2**20, 16),
            pattern=r"^unknown shared memory region 'n{80}\.\.\.' \(1,048,576 characters\): register it first$",
            code=grpc.StatusCode.NOT_FOUND,
        ),
        BadRequest(
            id="memory-region-escapes",
            make=lambda: input_in("\x1b[2J\n/dev", 16),
            pattern=r"^unknown shared memory region '\\x1b\[2J\\n/dev': register it first$",
            code=grpc.StatusCode.NOT_FOUND,
        ),
        BadRequest(
            id="memory-typed-contents-too",
            make=lambda: with_typed(input_in("r", 16)),
            pattern=r"^input 'x' of model 'affine' is in shared memory and has typed contents too: send one of them$",
            field="inputs[0].contents",
        ),
        *_registrations(),
        BadRequest(
            id="memory-status-unknown",
            make=lambda: SystemSharedMemoryStatusRequest(name="nobody"),
            path=METHODS["SystemSharedMemoryStatus"].path,
            pattern=unknown.format("nobody"),
            code=grpc.StatusCode.NOT_FOUND,
        ),
        BadRequest(
            id="memory-cuda-status-unknown",
            make=lambda: CudaSharedMemoryStatusRequest(name="nobody"),
            path=METHODS["CudaSharedMemoryStatus"].path,
            pattern=r"^CUDA shared memory cannot be used: ",
            code=grpc.StatusCode.UNIMPLEMENTED,
        ),
        *(
            BadRequest(
                id=f"memory-malformed-{name}",
                make=lambda: _NO_MESSAGE,
                path=METHODS[name].path,
                pattern=rf"^request of {name}: expected a {name}Request, got 2 bytes that are none;",
            )
            for name in _RPCS
        ),
    ]


def _places() -> list[BadRequest]:
    """Half a place, or one of a wrong type, of an input and of an output."""
    wholes = r"expected an integer of at least 0, got {}$"
    wrong: list[tuple[str, str, dict[str, Any], str, str]] = [
        (
            "no-size",
            "shared_memory_byte_size",
            {"shared_memory_region": {"string_param": "r"}},
            "shared_memory_region",
            r"needs 'shared_memory_byte_size' beside it$",
        ),
        (
            "no-region",
            "shared_memory_byte_size",
            {"shared_memory_byte_size": {"int64_param": 16}},
            "shared_memory_byte_size",
            r"needs 'shared_memory_region' beside it$",
        ),
        (
            "offset-alone",
            "shared_memory_offset",
            {"shared_memory_offset": {"int64_param": 16}},
            "shared_memory_offset",
            r"needs 'shared_memory_region' beside it$",
        ),
        (
            "region-a-number",
            "shared_memory_region",
            {"shared_memory_region": {"int64_param": 1}, "shared_memory_byte_size": {"int64_param": 16}},
            "shared_memory_region",
            r"expected the name of a region, got int$",
        ),
        *(
            (
                f"{key}-{kind}",
                f"shared_memory_{key}",
                {
                    "shared_memory_region": {"string_param": "r"},
                    "shared_memory_byte_size": {"int64_param": 16},
                    f"shared_memory_{key}": value,
                },
                f"shared_memory_{key}",
                wholes.format(shown),
            )
            for key in ("byte_size", "offset")
            for kind, value, shown in (
                ("negative", {"int64_param": -1}, "-1"),
                ("text", {"string_param": "16"}, "str"),
                ("bool", {"bool_param": True}, "True"),
                ("float", {"double_param": 16.0}, "16.0"),
            )
        ),
    ]
    rows = []
    for key, blamed, parameters, named, pattern in wrong:
        for of in ("input", "output"):
            tensor = "x" if of == "input" else "y"
            what = rf"^parameter '{named}' of {of} '{tensor}' of model 'affine'"
            rows.append(
                BadRequest(
                    id=f"memory-{of}-{key}",
                    make=lambda parameters=parameters, of=of: parametrised(of, parameters),  # type: ignore[misc]
                    pattern=rf"{what}:? {pattern}",
                    field=f"{of}s[0].parameters[{blamed}]",
                )
            )
    return rows


def _registrations() -> list[BadRequest]:
    """What cannot be registered: names, sizes, and keys that select anything but an object of this user."""

    def row(case: str, pattern: str, field: str, **changes: Any) -> BadRequest:
        fields: dict[str, Any] = {"name": "r", "key": "/nobody_has_made_this", "byte_size": 16, **changes}
        return BadRequest(
            id=f"memory-register-{case}",
            make=lambda: SystemSharedMemoryRegisterRequest(**fields),
            path=METHODS["SystemSharedMemoryRegister"].path,
            pattern=pattern,
            field=field,
        )

    named = r"^name of a shared memory region: expected 1 to 1024 characters, got {}$"
    single = (
        r"^key of shared memory region 'r': expected one name of 1 to 255 bytes, such as '/my_region', without a "
        r"further slash$"
    )
    reserved = r"^key of shared memory region 'r': names that begin with '{}' are reserved; take another$"
    return [
        row("no-name", named.format(0), "name", name=""),
        row("name-1-mb", named.format("1,048,576"), "name", name="n" * 2**20),
        row(
            "size-0", r"^shared memory region 'r': expected a size of at least 1 byte, got 0$", "byte_size", byte_size=0
        ),
        *(
            row(f"key-{name}", single, "key", key=key)
            for name, key in (
                ("empty", ""),
                ("slash", "/"),
                ("parent", ".."),
                ("slash-parent", "/.."),
                ("path", "/../etc/passwd"),
                ("absolute", "//etc/passwd"),
                ("folder", "/a/b"),
                ("nul", "/a\0b"),
                ("long", "k" * 256),
                ("1-mb", "k" * 2**20),
            )
        ),
        row(
            "key-triton",
            reserved.format("triton_python_backend_shm_region_"),
            "key",
            key="/triton_python_backend_shm_region_1",
        ),
        row("key-ours", reserved.format("sardonyx_server_"), "key", key="sardonyx_server_1"),
        row("key-semaphore", reserved.format("sem."), "key", key="/sem.lock"),
        row(
            "key-unknown",
            r"^key of shared memory region 'r' names no shared memory object that this server's user owns; create it "
            r"first, as that user$",
            "key",
        ),
    ]


def classified(message: ModelInferRequest, **value: Any) -> ModelInferRequest:
    """The request with the parameter ``classification`` on its output."""
    if not message.outputs:
        message.outputs.add(name="y")
    for kind, one in value.items():
        setattr(message.outputs[0].parameters["classification"], kind, one)
    return message


def input_in(region: str, byte_size: int) -> ModelInferRequest:
    """A request to ``affine`` whose input lies in a region."""
    message = without_data(affine())
    in_region(message.inputs[0], region, byte_size)
    return message


def output_in(region: str, byte_size: int) -> ModelInferRequest:
    """A request to ``affine`` whose output goes to a region."""
    message = affine()
    in_region(message.outputs.add(name="y"), region, byte_size)
    return message


def with_typed(message: ModelInferRequest) -> ModelInferRequest:
    """The request with typed contents too."""
    message.inputs[0].contents.fp32_contents.extend([1, 2, 3, 4])
    return message


def with_input_parameter(name: str, **value: Any) -> ModelInferRequest:
    """A good request to ``affine`` with a parameter on its input."""
    return parametrised("input", {name: value})


def parametrised(of: str, parameters: dict[str, dict[str, Any]]) -> ModelInferRequest:
    """A good request to ``affine`` with parameters on its input or output."""
    message = affine()
    tensor: Any = message.inputs[0] if of == "input" else message.outputs.add(name="y")
    for name, value in parameters.items():
        for kind, one in value.items():
            setattr(tensor.parameters[name], kind, one)
    return message
