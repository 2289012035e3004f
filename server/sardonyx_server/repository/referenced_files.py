"""Which files a config may name that came with a call: what its sender may have read is the operator's to say.

Labels come back to callers, and what is wrong with a file tells of it. So such a config names a label file or warm-up
data only where config.pbtxt on disk names the same, and as the model an .onnx file of the version folder, or what
config.pbtxt says. What lies in a folder beside the model, such as notes or keys, is nobody's to ask for. Opens no file.
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
    """Refuse files that a config from a caller may not name.

    Args:
        config: The caller's.
        subject: What messages call it.
        on_disk: Gives what config.pbtxt says; asked only where the config names a file.

    Raises:
        LoadFailed: It names one that config.pbtxt does not; or ``on_disk`` says so.
    """
    named = list(_referenced(config))
    if not named:
        return
    allowed = set(_referenced(on_disk()))
    for field, name in named:
        if (field, name) not in allowed:
            raise LoadFailed(
                f"{subject}: {field} is {shown_path(name)}, which config.pbtxt of model {quoted(config.name)} does not "
                "name; which files are read the operator of the server says, there"
            )


def _referenced(config: ModelConfig) -> Iterator[tuple[str, str]]:
    """(field, file) of each file that is more than a model beside the model."""
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
