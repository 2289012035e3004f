"""Serves one ONNX model with the tritonserver that nvidia-pytriton ships. Run by that environment's interpreter.

The server is the real one, with its gRPC front and its scheduler; models run in its Python backend (model.py), because
the package ships no other.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from pathlib import Path

from bench.peers.session import Arguments, open_session

_DATATYPES = {
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
}


def main() -> None:
    """Write the model repository and become the server."""
    arguments = Arguments.parse()
    packages = Path(sysconfig.get_path("purelib"))
    triton = packages / "pytriton" / "tritonserver"
    repository = Path(tempfile.mkdtemp(prefix="peer-triton-"))
    model = repository / arguments.name
    (model / "1").mkdir(parents=True)
    (model / "1" / "model.py").symlink_to(Path(__file__).resolve().with_name("model.py"))
    (model / "config.pbtxt").write_text(_config(arguments))
    command = [
        str(triton / "bin" / "tritonserver"),
        f"--model-repository={repository}",
        f"--backend-directory={triton / 'backends'}",
        f"--grpc-port={arguments.port}",
        "--grpc-address=127.0.0.1",
        "--grpc-infer-allocation-pool-size=128",
        "--allow-http=false",
        "--allow-metrics=false",
        "--log-info=false",
        "--disable-auto-complete-config",
    ]
    # The backend's stub asks for nothing but the first python3 on the path, whose environment it takes as its own.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # Of the interpreter, where it is a shared one; else the system's libpython is found by itself.
    libraries = (packages / "nvidia_pytriton.libs", sysconfig.get_config_var("LIBDIR"))
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(map(str, libraries))
    os.execv(command[0], command)  # noqa: S606  # no shell is wanted


def _config(arguments: Arguments) -> str:
    session = open_session(arguments.file, threads=1)
    batch = int(arguments.settings.get("max_batch_size", 64))
    lines = [f'name: "{arguments.name}"', 'backend: "python"', f"max_batch_size: {batch}"]
    for field, tensors in (("input", session.get_inputs()), ("output", session.get_outputs())):
        for tensor in tensors:
            sizes = [str(size) if isinstance(size, int) else "-1" for size in tensor.shape[1:]]
            # A config has no tensor without dimensions: one that has none beside the batch's is reshaped to it.
            dims = f"dims: [ {', '.join(sizes)} ]" if sizes else "dims: [ 1 ] reshape { }"
            lines.append(f'{field} {{ name: "{tensor.name}" data_type: {_DATATYPES[tensor.type]} {dims} }}')
    lines.append(f"instance_group {{ count: {arguments.instances} kind: KIND_CPU }}")
    if batch > 1:
        delay_us = int(arguments.settings.get("max_delay_us", 0))
        lines.append(f"dynamic_batching {{ max_queue_delay_microseconds: {delay_us} }}")
    for key, value in {"file": arguments.file, "threads": arguments.threads}.items():
        lines.append(f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}')
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
