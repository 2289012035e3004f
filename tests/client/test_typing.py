"""What type checkers conclude of the public client: mypy and pyright, both strict, and the same at run time.

`make check` reads this file with both. A type that changes for callers fails there first.
"""

# pyright: strict

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, assert_type

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

import sardonyx_client
from sardonyx_client import (
    TLS,
    AsyncClient,
    AsyncModel,
    AsyncStream,
    CallRecord,
    Client,
    ClientError,
    Coalesce,
    Duration,
    Hedge,
    IndexEntry,
    Model,
    ModelInfo,
    ModelStatistics,
    ParameterValue,
    Result,
    Retry,
    ServerInfo,
    Share,
    SharedMemoryRegion,
    Stream,
    TensorSpec,
    Timings,
    Unimplemented,
)
from sardonyx_wire.messages import (
    ModelConfig,
    ModelConfigResponse,
    ModelMetadataResponse,
    ModelReadyResponse,
    ModelStatisticsResponse,
    RepositoryIndexResponse,
    RepositoryModelLoadResponse,
    RepositoryModelUnloadResponse,
    ServerLiveResponse,
    ServerMetadataResponse,
    ServerReadyResponse,
    SystemSharedMemoryRegisterResponse,
    SystemSharedMemoryStatusResponse,
    SystemSharedMemoryUnregisterResponse,
)
from tests.client.servers import TinyServer, echo, say

ROW = np.ones((1, 2), np.float32)
INPUTS: Mapping[str, NDArray[np.float32]] = {"x": ROW}


@pytest.fixture
def address() -> Iterator[str]:
    """A server that answers everything but streams."""
    signature = ModelMetadataResponse(name="m", versions=["1"])
    signature.inputs.add(name="x", datatype="FP32", shape=[-1, 2])
    statistics = ModelStatisticsResponse()
    statistics.model_stats.add(name="m", version="1")
    regions = SystemSharedMemoryStatusResponse()
    regions.regions["r"].name = "r"
    with TinyServer(
        ModelInfer=echo,
        ServerLive=say(ServerLiveResponse(live=True)),
        ServerReady=say(ServerReadyResponse(ready=True)),
        ModelReady=say(ModelReadyResponse(ready=True)),
        ServerMetadata=say(ServerMetadataResponse(name="s", version="1", extensions=["e"])),
        ModelMetadata=say(signature),
        ModelConfig=say(ModelConfigResponse()),
        ModelStatistics=say(statistics),
        RepositoryIndex=say(RepositoryIndexResponse(models=[RepositoryIndexResponse.ModelIndex(name="m")])),
        RepositoryModelLoad=say(RepositoryModelLoadResponse()),
        RepositoryModelUnload=say(RepositoryModelUnloadResponse()),
        SystemSharedMemoryRegister=say(SystemSharedMemoryRegisterResponse()),
        SystemSharedMemoryStatus=say(regions),
        SystemSharedMemoryUnregister=say(SystemSharedMemoryUnregisterResponse()),
    ) as server:
        yield server.address


def test_results(address: str) -> None:
    """Of an inference: mappings of arrays, and plain values."""
    with Client(address) as client:
        assert_type(client, Client)
        result = assert_type(client.infer("m", INPUTS, y=[1.0], version=1, outputs=["x"], timeout_s=None), Result)
        assert_type(client.infer("m", x="text", parameters={"priority": 1}, timeout_s=5), Result)
        assert_type(result["x"], NDArray[Any])
        assert_type(result.get("x"), NDArray[Any] | None)
        assert_type(list(result), list[str])
        assert_type(result.outputs, Mapping[str, NDArray[Any]])
        assert_type(result.writable("x"), NDArray[Any])
        assert_type(result.model_name, str)
        assert_type(result.model_version, str)
        assert_type(result.request_id, str)
        assert_type(result.parameters, Mapping[str, ParameterValue])
        assert_type(result.timings, Timings)
        assert_type(result.timings.total_s, float)
        assert_type(client.infer_many("m", [INPUTS]), Iterator[Result])
        assert_type(client.infer("m", x=["a"]).text("x"), NDArray[Any])


def test_the_server_and_its_models(address: str) -> None:
    """Each question has its own type of answer."""
    with Client(address) as client:
        assert_type(client.timeout_s, float | None)
        assert_type(client.live(), bool)
        assert_type(client.ready(), bool)
        assert_type(client.ready("m", 1), bool)
        client.wait_until_ready(1.0, model="m")
        assert_type(client.metadata(), ServerInfo)
        assert_type(client.metadata().extensions, tuple[str, ...])
        info = assert_type(client.metadata("m"), ModelInfo)
        assert_type(info.inputs, tuple[TensorSpec, ...])
        assert_type(info.inputs[0].shape, tuple[int, ...] | None)
        assert_type(client.config("m"), ModelConfig)
        (statistics,) = assert_type(client.statistics(), tuple[ModelStatistics, ...])
        assert_type(statistics.success, Duration)
        assert_type(statistics.success.mean_s, float)
        assert_type(statistics.batches, Mapping[int, int])
        (entry,) = assert_type(client.repository.index(), tuple[IndexEntry, ...])
        assert_type(entry.state, str)
        client.repository.load("m", config={"max_batch_size": 8})
        client.repository.unload("m")
        client.shared_memory.register("r", "/r", size_bytes=1)
        (region,) = assert_type(client.shared_memory.status(), tuple[SharedMemoryRegion, ...])
        assert_type(region.size_bytes, int)
        client.shared_memory.unregister()
        model = assert_type(client.model("m"), Model)
        assert_type(model.signature(), ModelInfo)
        assert_type(model.infer(x=[[1, 2]]), Result)


def test_streams(address: str) -> None:
    """Results one after the other; this server has none."""
    with Client(address) as client, client.stream() as stream:
        assert_type(stream, Stream)
        stream.send("m", INPUTS)
        stream.done_sending()
        with pytest.raises(Unimplemented):
            assert_type(next(stream), Result)


def test_asyncio(address: str) -> None:
    """The same types, awaited."""

    async def converse() -> None:
        async with AsyncClient(address) as client:
            assert_type(client, AsyncClient)
            assert_type(await client.infer("m", INPUTS), Result)
            results = assert_type(client.infer_many("m", [INPUTS]), AsyncIterator[Result])
            assert [assert_type(each, Result) async for each in results]
            assert_type(await client.live(), bool)
            assert_type(await client.ready("m"), bool)
            await client.wait_until_ready(1.0)
            assert_type(await client.metadata(), ServerInfo)
            assert_type(await client.metadata("m"), ModelInfo)
            assert_type(await client.config("m"), ModelConfig)
            assert_type(await client.statistics(), tuple[ModelStatistics, ...])
            assert_type(await client.repository.index(), tuple[IndexEntry, ...])
            await client.repository.load("m")
            await client.repository.unload("m")
            await client.shared_memory.register("r", "/r", size_bytes=1)
            assert_type(await client.shared_memory.status(), tuple[SharedMemoryRegion, ...])
            await client.shared_memory.unregister()
            model = assert_type(client.model("m"), AsyncModel)
            assert_type(await model.signature(), ModelInfo)
            assert_type(await model.infer(INPUTS), Result)
            async with client.stream() as stream:
                assert_type(stream, AsyncStream)

    asyncio.run(converse())


def test_errors_and_options() -> None:
    """What a caller reads of a failure, and says of a connection."""
    seen: list[CallRecord] = []
    token: Callable[[], str] = str
    with (
        Client(
            ["127.0.0.1:1", "127.0.0.1:2"],
            timeout_s=0.2,
            metadata={"a": "b", "c-bin": b"d"},
            tls=TLS(ca=None),
            token=token,
            compression="gzip",
            retry=Retry(max_attempts=2),
            max_message_bytes=1,
            keepalive_s=1.0,
            hedge=Hedge(percentile=99),
            coalesce=Coalesce(max_rows=8),
            share=Share(any_address=True),
            on_call=seen.append,
        ) as client,
        pytest.raises(ClientError) as caught,
    ):
        client.metadata()
    error = caught.value
    assert_type(error.message, str)
    assert_type(error.code, grpc.StatusCode | None)
    assert_type(error.reason, str)
    assert_type(error.field, str)
    assert_type(error.expected, str)
    assert_type(error.got, str)
    assert_type(error.info, Mapping[str, str])
    assert_type(error.retry_after_s, float | None)
    assert_type(error.request_id, str)
    assert_type(seen[0].code, str)
    assert_type(seen[0].seconds, float)


def public_members(kind: type) -> Iterator[tuple[str, Any]]:
    """Methods and properties that a class defines for its users."""
    for name, member in vars(kind).items():
        if not name.startswith("_") and (callable(member) or isinstance(member, property)):
            yield name, member


def test_every_public_name_has_a_docstring() -> None:
    """Classes and all that they offer; a type alias has none."""
    missing: list[str] = []
    for name in sardonyx_client.__all__:
        kind: object = getattr(sardonyx_client, name)
        if not isinstance(kind, type):
            continue
        if not kind.__doc__ or kind.__doc__.startswith(f"{name}("):
            missing.append(name)
        missing += [f"{name}.{each}" for each, member in public_members(kind) if not member.__doc__]
    assert missing == []
