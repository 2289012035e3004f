"""Checks which files an uploaded config may reference: a caller must not be able to read arbitrary files.

Labels are returned to callers, and error messages reveal file contents. An uploaded config may therefore reference
label files and warm-up data only if config.pbtxt on disk references the same, and as the model only an .onnx file of
the version folder, or the file named in config.pbtxt. Other files, such as notes or keys, are out of reach.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository.config import shown_path
from sardonyx_server.repository.spec import is_onnx_name
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sardonyx_wire.messages import ModelConfig

__all__ = ["check_referenced_files"]


def check_referenced_files(config: ModelConfig, subject: str, on_disk: Callable[[], ModelConfig]) -> None:
    """Reject references that an uploaded config may not contain.

    Args:
        config: From the caller.
        subject: Its name in messages.
        on_disk: Returns the config.pbtxt on disk; called only if the config references a file.

    Raises:
        LoadFailed: It references a file that config.pbtxt does not; or raised by ``on_disk``.
    """
    named = list(_referenced(config))
    if not named:
        return
    allowed = set(_referenced(on_disk()))
    for field, name in named:
        if (field, name) not in allowed:
            raise LoadFailed(
                f"{subject}: {field} is {shown_path(name)}, which config.pbtxt of model {quoted(config.name)} does not "
                "name; only the server's operator may name further files, there"
            )


def _referenced(config: ModelConfig) -> Iterator[tuple[str, str]]:
    """(field, file) of each reference other than an .onnx file in the version folder."""
    model = config.default_model_filename
    if model and ("/" in model or not is_onnx_name(model)):
        yield "default_model_filename", model
    for output in config.output:
        if output.label_filename:
            yield "label_filename", output.label_filename
    for sample in config.model_warmup:
        for given in sample.inputs.values():
            if given.input_data_file:
                yield "input_data_file", given.input_data_file
