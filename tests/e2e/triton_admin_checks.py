"""Checks of what tritonclient's users administer: repository, shared memory, statistics, traces, log. Starts nothing.

Each leaves the server as it was. What goes wrong shows as an assertion or as tritonclient's own error.
"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest

from tests.e2e.models import repository
from tests.e2e.triton_conversations import ANSWER_TIMEOUT_S, ONES, memory, utilities

if TYPE_CHECKING:
    from tests.e2e.models import Folder
    from tests.e2e.triton_conversations import Conversation

__all__ = [
    "cuda_memory",
    "load",
    "log_settings",
    "repository_index",
    "statistics",
    "system_memory",
    "trace_settings",
    "unload",
]

SPARE: Final = "fixed"
"""A model that no other test of this server uses: it is loaded and unloaded."""


async def statistics(on: Conversation) -> None:
    """Rows are counted, for one version and in the list of all."""

    async def rows() -> int:
        (of_version,) = (await on.client.get_inference_statistics("affine", "1")).model_stats
        return int(of_version.inference_count)

    before = await rows()
    x = np.ones((3, 4), np.float32)
    await on.client.infer("affine", [on.tensor("x", x, "FP32")], model_version="1")
    assert await rows() == before + 3
    every = await on.client.get_inference_statistics(as_json=True)
    assert {each["name"] for each in every["model_stats"]} >= {"affine", "gate"}


async def repository_index(on: Conversation) -> None:
    """Each version with its state."""
    index = await on.client.get_model_repository_index()
    states = {(model.name, model.version): model.state for model in index.models}
    assert states["affine", "1"] == states["affine", "3"] == "READY"


async def load(on: Conversation) -> None:
    """Again, with a config and a file of the caller's, and as it lies on disk."""
    (spare,) = (folder for folder in repository() if folder.name == SPARE)
    await on.client.load_model(SPARE)
    assert await on.client.is_model_ready(SPARE)
    await _load_with_overrides(on, spare)
    await on.client.load_model(SPARE)
    assert await on.client.is_model_ready(SPARE, "1")


async def _load_with_overrides(on: Conversation, spare: Folder) -> None:
    config = json.dumps({"backend": "onnxruntime", "version_policy": {"specific": {"versions": [7]}}})
    await on.client.load_model(SPARE, config=config, files={"file:7/model.onnx": spare.data})
    assert await on.client.is_model_ready(SPARE, "7")


async def unload(on: Conversation) -> None:
    """It is gone, and comes back."""
    await on.client.load_model(SPARE)
    await on.client.unload_model(SPARE, unload_dependents=True)
    await _until_gone(on)
    await on.client.load_model(SPARE)
    assert await on.client.is_model_ready(SPARE)


async def _until_gone(on: Conversation) -> None:
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        while await on.client.is_model_ready(SPARE):  # noqa: ASYNC110  # the server tells nobody
            await asyncio.sleep(0.01)


async def system_memory(on: Conversation) -> None:
    """Numbers in and out through a region; the status in between."""
    name, key = f"region_{on.kind}", f"/sardonyx_test_{on.kind}_{on.server.transport}"
    region = memory.create_shared_memory_region(name, key, 32)
    try:
        memory.set_shared_memory_region(region, [2 * ONES])
        await on.client.register_system_shared_memory(name, key, 32)
        status = await on.client.get_system_shared_memory_status(name)
        assert (status.regions[name].key, status.regions[name].byte_size) == (key, 32)
        given, wanted = on.tensor("x", ONES, "FP32"), on.output("y")
        given.set_shared_memory(name, 16)
        wanted.set_shared_memory(name, 16, offset=16)
        result = await on.client.infer("affine", [given], outputs=[wanted])
        assert list(result.get_response().raw_output_contents) == [b""]
        y = memory.get_contents_as_numpy(region, np.float32, [1, 4], offset=16)
        expected = await on.client.infer("affine", [on.tensor("x", 2 * ONES, "FP32")])
        assert y.tolist() == expected.as_numpy("y").tolist()
        await on.client.unregister_system_shared_memory(name)
        assert not (await on.client.get_system_shared_memory_status(as_json=True)).get("regions")
    finally:
        await on.client.unregister_system_shared_memory()
        memory.destroy_shared_memory_region(region)


async def cuda_memory(on: Conversation) -> None:
    """A handle that is none: without CUDA a status that says so, which its users can tell from a fault."""
    with pytest.raises(utilities.InferenceServerException, match="CUDA") as caught:
        await on.client.register_cuda_shared_memory("region", base64.b64encode(bytes(64)), 0, 16)
    assert caught.value.status() in {"StatusCode.UNIMPLEMENTED", "StatusCode.INVALID_ARGUMENT"}
    assert not (await on.client.get_cuda_shared_memory_status(as_json=True)).get("regions")
    await on.client.unregister_cuda_shared_memory()


async def trace_settings(on: Conversation) -> None:
    """Changed for one model, seen at once, and taken back."""
    before = await on.client.get_trace_settings("affine", as_json=True)
    changed = await on.client.update_trace_settings("affine", settings={"trace_rate": "7"}, as_json=True)
    assert changed["settings"]["trace_rate"] == {"value": ["7"]}
    assert await on.client.get_trace_settings("affine", as_json=True) == changed
    await on.client.update_trace_settings("affine", settings={"trace_rate": None})
    assert await on.client.get_trace_settings("affine", as_json=True) == before
    assert (await on.client.get_trace_settings(as_json=True))["settings"].keys() == before["settings"].keys()


async def log_settings(on: Conversation) -> None:
    """Changed, seen at once, and taken back."""
    before = (await on.client.get_log_settings()).settings["log_verbose_level"].uint32_param
    await on.client.update_log_settings({"log_verbose_level": 1, "log_info": True})
    try:
        assert (await on.client.get_log_settings()).settings["log_verbose_level"].uint32_param == 1
    finally:
        await on.client.update_log_settings({"log_verbose_level": before})
