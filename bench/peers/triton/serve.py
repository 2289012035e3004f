"""Serves one ONNX model with the tritonserver that nvidia-pytriton ships. Run by that environment's interpreter."""

from __future__ import annotations

import argparse
import json
import os
import sys
import sysconfig
import tempfile
from pathlib import Path

import onnxruntime as ort

_DATATYPES = {
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
}


def main() -> None:
    """Become the server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--settings", type=json.loads, default={})
    given = parser.parse_args()
    packages = Path(sysconfig.get_path("purelib"))
    triton = packages / "pytriton" / "tritonserver"
    repository = Path(tempfile.mkdtemp(prefix="peer-triton-"))
    version = repository / given.name / "1"
    version.mkdir(parents=True)
    (version / "model.py").symlink_to(Path(__file__).resolve().with_name("model.py"))
    (repository / given.name / "config.pbtxt").write_text(_config(given.file.resolve(), given.name, given.settings))
    command = [
        str(triton / "bin" / "tritonserver"),
        f"--model-repository={repository}",
        f"--backend-directory={triton / 'backends'}",
        f"--grpc-port={given.port}",
        "--grpc-address=127.0.0.1",
        "--allow-http=false",
        "--allow-metrics=false",
        "--log-info=false",
        "--disable-auto-complete-config",
        *given.settings.get("flags", ()),
    ]
    # The backend's stub asks for nothing but the first python3 on the path, whose environment it takes as its own.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ["LD_LIBRARY_PATH"] = str(packages / "nvidia_pytriton.libs")
    os.execv(command[0], command)


def _config(file: Path, name: str, settings: dict[str, object]) -> str:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    batch = int(str(settings.get("max_batch_size", 64)))
    lines = [f'name: "{name}"', 'backend: "python"', f"max_batch_size: {batch}"]
    for field, tensors in (("input", session.get_inputs()), ("output", session.get_outputs())):
        for tensor in tensors:
            sizes = [str(size) if isinstance(size, int) else "-1" for size in tensor.shape[1 if batch else 0 :]]
            # A config has no tensor without dimensions: one that has none beside the batch's is reshaped to it.
            dims = f"dims: [ {', '.join(sizes)} ]" if sizes else "dims: [ 1 ] reshape { }"
            lines.append(f'{field} {{ name: "{tensor.name}" data_type: {_DATATYPES[tensor.type]} {dims} }}')
    lines.append(f"instance_group {{ count: {settings.get('instances', 1)} kind: KIND_CPU }}")
    if batch > 1:
        lines.append("dynamic_batching { }")
    for key, value in {"file": file, "threads": settings.get("threads", 1)}.items():
        lines.append(f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}')
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
