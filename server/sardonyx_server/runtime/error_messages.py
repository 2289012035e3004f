"""Turns error messages of onnxruntime into text that is safe to show.

onnxruntime's messages contain source files, C++ signatures and paths of the machine, none of which may reach a caller.
"""

from __future__ import annotations

import re
from typing import Final

from sardonyx_server.text import one_line, quoted

__all__ = ["load_error_message", "run_error_message", "sanitize"]

_LIMIT_BYTES: Final = 300
_SEE_LOG: Final = "the server's log has the runtime's own message"

_PREFIX: Final = re.compile(r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_NODE: Final = re.compile(
    r"Non-zero status code returned while running (\w+) node\. Name:'.*?' Status Message: ", re.DOTALL
)
# "matmul_helper.h:59 Compute text": after the base name follows one word, the function.
_SHORT_SOURCE: Final = re.compile(r"(?<![\w/])[\w.-]+\.(?:cc|cpp|cu|cuh|h|hpp|inc):\d+ [\w~]+ ")
# "/build/x/reshape_helper.h:91 signature text".
_LONG_SOURCE: Final = re.compile(r"\S*/[\w.-]+\.(?:cc|cpp|cu|cuh|h|hpp|inc):\d+ ")
_CONDITION: Final = re.compile(r"^.{1,300}? was (?:false|not met)\.\s*", re.DOTALL)
_QUOTED_PATH: Final = re.compile(r"""(["'])(?:[A-Za-z]:)?[^"'\n]*[/\\]([^"'/\\\n]*)\1""")
_BARE_PATH: Final = re.compile(r"(?<![\w.])(?:[A-Za-z]:\\|\.{0,2}/)[\w.+@~/\\-]*")
# Remaining text that looks like program internals after all known patterns are removed.
_UNSAFE: Final = re.compile(
    r"::|\.(?:cc|cpp|cu|cuh|h|hpp|inc):\d|0x[0-9a-fA-F]{4,}|\b(?:std|onnxruntime|pybind11)\b.*[<(*&]|[\\]|/\w+/"
)

_UNKNOWN_OPERATOR: Final = re.compile(r"No Op registered for (\S+) with domain_version of (\d+)")
_UNREGISTERED: Final = re.compile(r"([\w.]+):([\w.]+)\((-?\d+)\) is not a registered function/op")
_NO_KERNEL: Final = re.compile(r"Could not find an implementation for ([\w.]+)\((\d+)\) node")
_NO_IMPORT: Final = re.compile(r"No opset import for domain '([^']*)'")
_OPSET: Final = re.compile(r"Opset (\d+) is under development.*domain (\S+) is till opset (\d+)", re.DOTALL)
_IR_VERSION: Final = re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)")
_CUT_SHORT: Final = re.compile(
    r"initializer: (.+?) offset: (\d+) size to read: (\d+) given file_length: (\d+)", re.DOTALL
)
_INITIALIZER: Final = re.compile(r"for initializer: (.+?)\. Error", re.DOTALL)
_LOCALE: Final = re.compile(r"construct locale with name:\s*([\w.@-]+)")
_GPU: Final = re.compile(r"\b(?:CUDA|CUDNN|CUBLAS|cuDNN|TensorRT|HIP)\b.*(?:fail|error)", re.IGNORECASE)
_DANGLING: Final = re.compile(r"Node input '(.*?)' is not a graph input", re.DOTALL)


def run_error_message(name: str, message: str) -> str:
    """The message for a caller when a run of model ``name`` failed with ``message``."""
    if "terminate flag" in message:
        return f"model {quoted(name)}: the run was ended by the server because it took too long"
    node = _NODE.search(message)
    where = f"operator {node[1]}: " if node else ""
    return f"model {quoted(name)} failed while it ran: {where}{sanitize(message)}"


def load_error_message(name: str, message: str, version: str) -> str:
    """The message for the operator when model ``name`` does not load: what is wrong, and how to fix it.

    Args:
        name: Of the model.
        message: From onnxruntime.
        version: Of onnxruntime, to say that it is too old.
    """
    return f"model {quoted(name)}: {_load_failure(message, f'onnxruntime {version}')}"


def _load_failure(message: str, runtime: str) -> str:
    if "protobuf parsing failed" in message.lower():
        return "the file is no ONNX model, or is damaged or cut short; copy it again, or export it again"
    if "No graph was found" in message:
        return "the file is empty or holds no graph; copy it again, or export it again"
    if "File doesn't exist" in message:
        return "the model file is gone; put it back"
    if cut := _CUT_SHORT.search(message):
        wanted = int(cut[2]) + int(cut[3])
        return (
            f"the external data of tensor {quoted(cut[1])} are cut short: {wanted:,} bytes are needed, the file has "
            f"{int(cut[4]):,}; copy the file again"
        )
    # The second text is that of onnxruntime 1.23.
    if "external data" in message.lower() or "cannot get file size" in message:
        initializer = _INITIALIZER.search(message)
        whose = f" of tensor {quoted(initializer[1])}" if initializer else ""
        return (
            f"the external data{whose} are missing or lie outside the model's folder; put the file beside the model, "
            "under the name the model gives, or save the model in one file"
        )
    if locale := _LOCALE.search(message):
        return (
            f"it needs the locale {quoted(locale[1])}, which this machine does not have; install it "
            "(on Debian: package locales, then locale-gen), or export the model without it"
        )
    if _GPU.search(message):
        return (
            f"the GPU's provider failed to start: {sanitize(message)}; check the driver with nvidia-smi, "
            "and that CUDA's and cuDNN's libraries are those that onnxruntime-gpu names"
        )
    return _version_failure(message, runtime) or _operator_failure(message, runtime)


def _version_failure(message: str, runtime: str) -> str:
    if match := _IR_VERSION.search(message):
        return (
            f"its format is IR version {match[1]}, and {runtime} reads up to {match[2]}; "
            "export it with an older onnx, or install a newer onnxruntime"
        )
    if match := _OPSET.search(message):
        return (
            f"it needs opset {match[1]} of {match[2]}, and {runtime} supports up to {match[3]}; "
            f"export it with opset {match[3]} or lower, or install a newer onnxruntime"
        )
    return ""


def _operator_failure(message: str, runtime: str) -> str:
    if match := _UNKNOWN_OPERATOR.search(message):
        return (
            f"operator {quoted(match[1])} of opset {match[2]} is unknown to {runtime}; "
            "export it with another opset, or install a newer onnxruntime"
        )
    if match := _UNREGISTERED.search(message):
        return (
            f"operator {quoted(f'{match[1]}:{match[2]}')} is unknown to {runtime}, and libraries of custom operators "
            "are not loaded here; export it with standard operators"
        )
    if match := _NO_KERNEL.search(message):
        return (
            f"{runtime} has operator {quoted(match[1])} of opset {match[2]}, but not for the types that the model "
            "gives it, such as BF16 on a CPU; export it in FP32, or serve it where there is a provider that has it"
        )
    if match := _NO_IMPORT.search(message):
        return f"it uses operators of domain {quoted(match[1])} without an opset import for it; export it again"
    if match := _DANGLING.search(message):
        return f"a node takes {quoted(match[1])}, which no input, initializer or node gives; export it again"
    return f"onnxruntime refuses it: {sanitize(message)}; see what onnx.checker.check_model says of it"


def sanitize(message: str) -> str:
    """The first line of a message of onnxruntime without error codes, source files, signatures and paths.

    If the rest still looks like program internals, nothing of the message is shown.
    """
    text = _PREFIX.sub("", message)
    text = _NODE.sub("", text)
    text = text.strip().partition("\n")[0]
    while source := _LONG_SOURCE.search(text):
        text = text[: source.start()] + _after_signature(text[source.end() :])
    text = _SHORT_SOURCE.sub("", text)
    shortened = _CONDITION.sub("", text)
    text = (shortened or text).strip().rstrip(".;")
    text = _QUOTED_PATH.sub(r"\1\2\1", text)
    text = _BARE_PATH.sub("(path)", text)
    if not text or _UNSAFE.search(text):
        return _SEE_LOG
    return one_line(text, _LIMIT_BYTES)


def _after_signature(text: str) -> str:
    """The text after a C++ signature as compilers print it: ``T f(int) const [with T = x] text`` -> ``text``."""
    rest = text
    opening = rest.find("(")
    if opening < 0:
        return ""
    while opening >= 0:
        rest = _after_bracket(rest, opening)
        # A lambda's parameters follow those of the enclosing function: f(int)::<lambda(bool)>.
        opening = rest.find("(") if rest.startswith("::") else -1
    rest = rest.removeprefix(">").removeprefix(" const").lstrip()
    if rest.startswith("[with "):
        rest = _after_bracket(rest, 0)
    return rest.lstrip()


def _after_bracket(text: str, opening: int) -> str:
    """The text after the bracket that closes the one at ``opening``; "" if there is none."""
    pairs = {"(": ")", "[": "]"}
    start, end = text[opening], pairs[text[opening]]
    depth = 0
    for index in range(opening, len(text)):
        depth += (text[index] == start) - (text[index] == end)
        if depth == 0:
            return text[index + 1 :]
    return ""
