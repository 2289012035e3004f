"""Triton's Python backend: one onnxruntime session to an instance, and one run for all requests of a batch."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """What the backend's stub looks for. Each instance is a process of its own."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the model; ``parameters`` of the config say which file, and with how many threads."""
        config = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in config["parameters"].items()}
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(parameters["threads"])
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(parameters["file"], options, providers=["CPUExecutionProvider"])
        self._inputs = [one.name for one in self._session.get_inputs()]
        self._outputs = [one.name for one in self._session.get_outputs()]

    def execute(self, requests: list[pb_utils.InferenceRequest]) -> list[pb_utils.InferenceResponse]:
        """Run what the scheduler has put together."""
        rows = [
            [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs]
            for request in requests
        ]
        whole = rows[0] if len(rows) == 1 else [np.concatenate(column) for column in zip(*rows, strict=True)]
        feeds = dict(zip(self._inputs, whole, strict=True))
        results = self._session.run(self._outputs, feeds)
        answers, begin = [], 0
        for one in rows:
            end = begin + len(one[0])
            tensors = [
                pb_utils.Tensor(name, result[begin:end]) for name, result in zip(self._outputs, results, strict=True)
            ]
            answers.append(pb_utils.InferenceResponse(tensors))
            begin = end
        return answers
