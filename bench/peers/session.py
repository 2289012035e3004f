"""What the server scripts of all peers share: command line, onnxruntime session, and bodies of plain bytes.

It runs in the peers' own environments, so it uses numpy and onnxruntime and nothing of this project.

    build/peers/NAME/bin/python bench/peers/NAME/serve.py --file model.onnx --name iris --shape 1,4 --port 9000
        [--settings '{"instances": 2, "threads": 1}']
"""

from __future__ import annotations

import argparse
import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import onnxruntime as ort

__all__ = ["Arguments", "Bodies", "free_port", "open_session"]

_NUMPY: Final = {"tensor(float)": np.float32, "tensor(int32)": np.int32}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """Arguments of a server script.

    Attributes:
        file: The model.
        name: Name of the model.
        shape: Shape of one row of its only input, with the batch axis.
        port: To serve on, on 127.0.0.1.
        settings: The server's own; see its README.
    """

    file: str
    name: str
    shape: tuple[int, ...]
    port: int
    settings: Mapping[str, Any]

    @classmethod
    def parse(cls, words: Sequence[str] | None = None) -> Self:
        """Parse the command line; None = of this process."""
        parser = argparse.ArgumentParser()
        parser.add_argument("--file", type=Path, required=True)
        parser.add_argument("--name", required=True)
        parser.add_argument("--shape", required=True)
        parser.add_argument("--port", type=int, required=True)
        parser.add_argument("--settings", type=json.loads, default={})
        given = parser.parse_args(words)
        return cls(
            file=str(given.file.resolve()),
            name=given.name,
            shape=tuple(map(int, given.shape.split(","))),
            port=given.port,
            settings=given.settings,
        )

    def as_json(self) -> str:
        """As JSON, for the environment variable that worker processes read."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What :meth:`as_json` wrote."""
        fields = json.loads(text)
        return cls(**{**fields, "shape": tuple(fields["shape"])})

    @property
    def instances(self) -> int:
        """How many processes or threads run the model at the same time."""
        return int(self.settings.get("instances", 1))

    @property
    def threads(self) -> int:
        """Within one run."""
        return int(self.settings.get("threads", 1))


def open_session(file: str, *, threads: int) -> ort.InferenceSession:
    """A session set up as Sardonyx sets its own up: no spinning, since servers share the cores with the load."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])


class Bodies:
    """A model that answers bodies of plain bytes: the rows of its only input in, all outputs one after the other out.

    Args:
        arguments: Arguments of the server.
    """

    def __init__(self, arguments: Arguments) -> None:
        self._session = open_session(arguments.file, threads=arguments.threads)
        (only,) = self._session.get_inputs()
        self._input = only.name
        self._dtype = _NUMPY[only.type]
        self._shape = arguments.shape

    def read(self, body: bytes) -> np.ndarray[Any, Any]:
        """The row in a body: a view."""
        return np.frombuffer(body, self._dtype).reshape(self._shape)

    def run(self, rows: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        """Outputs of rows [n, ...]."""
        found: list[np.ndarray[Any, Any]] = self._session.run(None, {self._input: rows})
        return found

    def answer(self, body: bytes) -> bytes:
        """One row from body to body."""
        return b"".join(output.tobytes() for output in self.run(self.read(body)))

    def answer_rows(self, rows: Sequence[np.ndarray[Any, Any]]) -> list[bytes]:
        """Several rows in one run."""
        outputs = self.run(np.concatenate(rows))
        return [b"".join(output[at : at + 1].tobytes() for output in outputs) for at in range(len(rows))]


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
