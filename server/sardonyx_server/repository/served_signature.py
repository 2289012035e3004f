"""Determines the signature of a model on disk from its files, without loading it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from sardonyx_server.repository.effective_config import check_against_graph, served_inputs, tensors
from sardonyx_server.repository.files import take_private_copy

if TYPE_CHECKING:
    from sardonyx_server.repository.spec import ModelSpec
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["served_signature"]


def served_signature(spec: ModelSpec, version: int) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """(inputs, outputs) as callers will see them, with axis names and labels.

    Args:
        spec: From ``scan``.
        version: One of ``spec.versions``.

    Raises:
        LoadFailed: The files or the config are invalid.
    """
    with closing(take_private_copy(spec, version)) as files:
        graph = files.graph.signature()
    check_against_graph(spec.config, *graph, source=spec.config_source)
    inputs, outputs = tensors(spec.config, *graph)
    served = {each.name for each in served_inputs(spec.config, graph[0])}
    return (
        tuple(each.caller for each in inputs if each.graph.name in served),
        tuple(
            replace(each, labels=spec.labels.get(each.name, each.labels))
            for each in (tensor.caller for tensor in outputs)
        ),
    )
