"""Onnxruntime asked without a server: what the answer over the wire is held against, bit for bit."""

from __future__ import annotations

import ctypes
import re
from typing import TYPE_CHECKING, Any, Final

import onnxruntime

from sardonyx_server.runtime.native_session import session_options
from sardonyx_server.runtime.tuning import SessionTuning
from tests.conformance.contents import Contents, array_of, contents_of
from tests.e2e.models import ELEMENT_TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.conformance.onnx_cases import NodeCase

__all__ = ["NotRunnable", "answers"]

# Its texts begin so: [ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for ...
_CODE: Final = re.compile(r"\] : \d+ : (\w+)")


class NotRunnable(Exception):  # no error: a fact about onnxruntime
    """Onnxruntime itself does not run the case; the text is its code for that, such as NOT_IMPLEMENTED."""


def answers(case: NodeCase) -> list[list[Contents]]:
    """For each request of a case, the outputs in the graph's order.

    Raises:
        NotRunnable: It does not open the model, or does not run it on these inputs.
    """
    # What the server tunes, and as it does: fusions and thread counts move the last bits.
    options = session_options(onnxruntime, SessionTuning(), threads=1, has_external_data=False)
    try:
        session = onnxruntime.InferenceSession(case.model, options, providers=["CPUExecutionProvider"])
        return [_run(session, request, case.outputs) for request in case.requests]
    except Exception as error:
        code = _CODE.search(str(error))
        raise NotRunnable(code[1] if code else type(error).__name__) from error


def _run(session: Any, inputs: Mapping[str, Contents], outputs: Mapping[str, str]) -> list[Contents]:
    if "BF16" not in (*(each.datatype for each in inputs.values()), *outputs.values()):
        arrays = session.run(list(outputs), {name: array_of(each) for name, each in inputs.items()})
        return [contents_of(array, datatype) for array, datatype in zip(arrays, outputs.values(), strict=True)]
    # numpy knows no BF16, so onnxruntime's own values carry it.
    feeds = {name: _value(each) for name, each in inputs.items()}
    values = session.run_with_ort_values(list(outputs), feeds)
    return [_contents(value, datatype) for value, datatype in zip(values, outputs.values(), strict=True)]


def _value(contents: Contents) -> Any:
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(array_of(contents), ELEMENT_TYPES[contents.datatype])


def _contents(value: Any, datatype: str) -> Contents:
    if datatype != "BF16":
        return contents_of(value.numpy(), datatype)
    size_bytes = value.tensor_size_in_bytes()
    raw = ctypes.string_at(value.data_ptr(), size_bytes) if size_bytes else b""
    return Contents(datatype=datatype, shape=tuple(value.shape()), raw=raw)
