"""Serves one ONNX model with Ray Serve over HTTP, bodies of plain bytes. Run by that environment's interpreter."""

from __future__ import annotations

import logging
import os
import signal
from typing import TYPE_CHECKING

from bench.peers.session import Arguments, Bodies

_ARGUMENTS = Arguments.parse()
# Ray reads them when it is imported, and hands them to its processes. With them it answers 15 times as often.
os.environ["RAY_SERVE_ENABLE_HA_PROXY"] = os.environ["RAY_SERVE_THROUGHPUT_OPTIMIZED"] = "1"

import ray  # noqa: E402
from ray import serve  # noqa: E402
from starlette.responses import Response  # noqa: E402

if TYPE_CHECKING:
    from starlette.requests import Request


class Onnx:
    """The model in each replica."""

    def __init__(self, arguments: str) -> None:
        self._bodies = Bodies(Arguments.from_json(arguments))

    async def __call__(self, request: Request) -> Response:
        """One request, through Ray's batching where it is on."""
        body = await request.body()
        answer = await self.batched(body) if self._batch else self._bodies.answer(body)
        return Response(answer, media_type="application/octet-stream")

    _batch = int(_ARGUMENTS.settings.get("max_batch_size", 1)) > 1

    @serve.batch(
        max_batch_size=int(_ARGUMENTS.settings.get("max_batch_size", 1)),
        batch_wait_timeout_s=float(_ARGUMENTS.settings.get("max_batch_time_s", 0.0)),
    )
    async def batched(self, bodies: list[bytes]) -> list[bytes]:
        """Several rows in one run."""
        return self._bodies.answer_rows([self._bodies.read(body) for body in bodies])


def main() -> None:
    """Serve until told to stop."""
    ray.init(
        num_cpus=4 * (os.cpu_count() or 1), include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
    )
    serve.start(http_options={"host": "127.0.0.1", "port": _ARGUMENTS.port})
    deployment = serve.deployment(
        Onnx, num_replicas=_ARGUMENTS.instances, max_ongoing_requests=256, ray_actor_options={"num_cpus": 1}
    )
    serve.run(deployment.bind(_ARGUMENTS.as_json()), route_prefix="/predict")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    ray.shutdown()


if __name__ == "__main__":
    main()
