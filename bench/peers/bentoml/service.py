"""BentoML's service for an ONNX model: a mounted application that takes and gives plain bytes, its fastest way in."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import bentoml
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from bench.peers.session import Arguments, Bodies

if TYPE_CHECKING:
    from starlette.requests import Request

_ARGUMENTS = Arguments.from_json(os.environ["PEER_ARGUMENTS"])
_BODIES = Bodies(_ARGUMENTS)
_THREADS = None if _ARGUMENTS.settings.get("inline", True) else ThreadPoolExecutor(_ARGUMENTS.instances)


async def _predict(request: Request) -> Response:
    body = await request.body()
    if _THREADS is None:
        answer = _BODIES.answer(body)
    else:
        answer = await asyncio.get_running_loop().run_in_executor(_THREADS, _BODIES.answer, body)
    return Response(answer, media_type="application/octet-stream")


_APP = Starlette(routes=[Route("/predict", _predict, methods=["POST"])])


@bentoml.service(workers=int(_ARGUMENTS.settings.get("workers", 1)), traffic={"timeout": 10})
@bentoml.asgi_app(_APP)
class Onnx:
    """The service that ``bentoml serve`` looks for."""
