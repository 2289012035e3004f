"""ModelStatistics: the engine's statistics as the protocol's messages. Counts nothing; knows no gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sardonyx_server.engine.statistics import snapshot, snapshots
from sardonyx_server.errors import InvalidRequest
from sardonyx_server.rpc.other_rpcs.introspection import version_field
from sardonyx_server.text import quoted
from sardonyx_wire.messages import (
    InferBatchStatistics,
    InferResponseStatistics,
    InferStatistics,
    ModelStatistics,
    ModelStatisticsResponse,
    StatisticDuration,
)

if TYPE_CHECKING:
    from sardonyx_server.engine.models.registry import Registry
    from sardonyx_server.engine.statistics import BatchStatistics, Duration, ResponseStatistics, VersionStatistics
    from sardonyx_wire.messages import ModelStatisticsRequest

__all__ = ["Statistics"]


class Statistics:
    """Answers ModelStatistics. Any thread; does not block.

    Args:
        registry: The registry of models.
    """

    __slots__ = ("_registry",)

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def model_statistics(self, request: ModelStatisticsRequest) -> ModelStatisticsResponse:
        """Counts and durations since the load: of one version, all ready versions of a model, or all ready models.

        Raises:
            InvalidRequest: The version is not a positive integer, or is given without a model.
            NotFound: The model or version does not exist.
            ModelUnavailable: The model is loading, is draining or has failed.
        """
        return ModelStatisticsResponse(
            model_stats=[_version(one) for one in self._chosen(request.name, request.version)]
        )

    def _chosen(self, name: str, version: str) -> list[VersionStatistics]:
        if not name:
            if version:
                raise InvalidRequest(
                    f"version {quoted(version)} of no model: expected the name of its model with it, or neither of "
                    "the two for every model that is ready",
                    field="name",
                )
            return snapshots(self._registry)
        with version_field():
            newest = self._registry.get(name, version)
        entry = None if version else self._registry.entries().get(name)
        ready = [] if entry is None else [status.model for status in entry.versions.values() if status.model]
        # Versions that were ready a moment ago may be gone.
        return [snapshot(model) for model in ready or [newest]]


def _version(of: VersionStatistics) -> ModelStatistics:
    return ModelStatistics(
        name=of.model,
        version=str(of.version),
        last_inference=of.last_inference_ms,
        inference_count=of.inference_count,
        execution_count=of.execution_count,
        inference_stats=InferStatistics(
            success=_duration(of.success),
            fail=_duration(of.fail),
            queue=_duration(of.queue),
            compute_input=_duration(of.compute_input),
            compute_infer=_duration(of.compute_infer),
            compute_output=_duration(of.compute_output),
            cache_hit=_duration(of.cache_hit),
            cache_miss=_duration(of.cache_miss),
        ),
        batch_stats=[_batch(batch) for batch in of.batches],
        response_stats={index: _response(response) for index, response in of.responses.items()},
    )


def _batch(of: BatchStatistics) -> InferBatchStatistics:
    return InferBatchStatistics(
        batch_size=of.size_rows,
        compute_input=StatisticDuration(count=of.count, ns=of.input_ns),
        compute_infer=StatisticDuration(count=of.count, ns=of.infer_ns),
        compute_output=StatisticDuration(count=of.count, ns=of.output_ns),
    )


def _response(of: ResponseStatistics) -> InferResponseStatistics:
    return InferResponseStatistics(
        compute_infer=_duration(of.compute_infer),
        compute_output=_duration(of.compute_output),
        success=_duration(of.success),
        fail=_duration(of.fail),
        empty_response=_duration(of.empty_response),
        cancel=_duration(of.cancel),
    )


def _duration(of: Duration) -> StatisticDuration:
    return StatisticDuration(count=of.count, ns=of.ns)
