"""Renders views and settings as rich tables and text. Prints nothing.

Text from a model or a file is shown as it is, never interpreted as markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sardonyx_server.cli.flags import SETTINGS
from sardonyx_server.cli.settings_sources import LoadedSettings
from sardonyx_server.cli.views import FAILED, CostPoint, ModelView
from sardonyx_wire.tensors import TensorSpec

__all__ = [
    "batching_line",
    "batching_text",
    "check_table",
    "inspection",
    "models_table",
    "plain_table",
    "provider_text",
    "settings_json",
    "settings_table",
    "shape_line",
    "signature_text",
]


# With more models than this, each gets only one line.
_DETAILED_MODELS = 24


def models_table(models: Sequence[ModelView]) -> RenderableType:
    """The table of ``serve`` at start: one row per ready version, and a second table of those that are not ready.

    The second table gives the reasons, which are too long for a column of the first. If there are many models, each row
    is one line, without signatures. The reason for the provider is shown once if it is the same for all models.
    """
    detailed = sum(view.is_ready for view in models) <= _DETAILED_MODELS
    columns = ("inputs", "outputs", "runs on", "batching") if detailed else ("runs on", "batching")
    ready = _table("model", "version", *columns)
    missing = _table("model", "version", "state")
    reasons = {view.provider_reason for view in models if view.is_ready}
    said_once = detailed and len(reasons) == 1 and sum(view.is_ready for view in models) > 1
    for view in models:
        name = Text(view.name, style="bold")
        if view.is_ready:
            cells = [provider_text(view), batching_text(view)]
            if said_once:
                cells[0] = cells[0].split("\n")[0]
            if detailed:
                cells = [signature_text(view.inputs), signature_text(view.outputs), *cells]
            else:
                cells = [text.split("\n")[0] for text in cells]
            ready.add_row(name, str(view.version), *cells)
        else:
            state = Text(f"{view.state}: {view.reason}", style="red" if view.state == FAILED else "yellow")
            missing.add_row(name, str(view.version or "-"), state)
    parts: list[RenderableType] = [ready] if ready.row_count or not missing.row_count else []
    if said_once:
        parts.append(Text(f"\nruns on: {reasons.pop()}", style="dim"))
    if not detailed:
        parts.append(Text("'sardonyx inspect MODEL PATH' shows the details of a model", style="dim"))
    if missing.row_count:
        parts += [Text(""), missing] if parts else [missing]
    return Group(*parts)


def check_table(models: Sequence[ModelView]) -> Table:
    """The table of ``check``: one row per version, with the reason if it failed."""
    table = _table("model", "version", "result", "detail")
    for view in models:
        if view.is_ready:
            result, detail = Text("ok", style="green"), Text(f"{view.provider}; {batching_line(view)}")
        else:
            result, detail = Text("failed", style="bold red"), Text(view.reason)
        for warning in view.warnings:
            detail.append(f"\nwarning: {warning}", style="yellow")
        for note in view.notes:
            detail.append(f"\nnote: {note}", style="dim")
        table.add_row(Text(view.name, style="bold"), str(view.version or "-"), result, detail)
    return table


def inspection(view: ModelView) -> RenderableType:
    """The output of ``inspect`` for one model."""
    parts: list[RenderableType] = [
        Text.assemble((view.name, "bold"), f"  version {view.version}  loaded in {view.load_s * 1e3:.0f} ms"),
        Text(""),
        _tensors_table(view),
        Text(""),
        Text.assemble(("runs on    ", "bold"), _provider_line(view)),
        Text.assemble(("runners    ", "bold"), _runners_line(view)),
        Text.assemble(("batching   ", "bold"), batching_line(view)),
    ]
    if view.curve:
        parts += [Text(""), _curve_table(view.curve, view.best_rows)]
    for warning in view.warnings:
        parts.append(Text(f"warning: {warning}", style="yellow"))
    parts += [Text(f"note: {note}", style="dim") for note in view.notes]
    if view.config_text:
        parts += [Text("\nEffective ModelConfig", style="bold"), Text(view.config_text.rstrip())]
    return Group(*parts)


def settings_table(loaded: LoadedSettings) -> Table:
    """The table of ``serve --show-settings``: each value and its source."""
    table = _table("setting", "value", "source")
    for name, setting in SETTINGS.items():
        origin = loaded.origins[name]
        value = setting.show(getattr(loaded.settings, name))
        table.add_row(
            name,
            Text(value, style="" if origin.source == "default" else "bold"),
            Text(origin.where, style="dim" if origin.source == "default" else "cyan"),
        )
    return table


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of plain text."""
    table = _table(*columns)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def settings_json(loaded: LoadedSettings) -> dict[str, Any]:
    """As JSON: name -> value as text, source (flag, environment, file, default), and where exactly."""
    return {
        name: {
            "value": setting.show(getattr(loaded.settings, name)),
            "source": loaded.origins[name].source,
            "where": loaded.origins[name].where,
        }
        for name, setting in SETTINGS.items()
    }


def signature_text(specs: Sequence[TensorSpec]) -> Text:
    """One line per tensor: name, datatype, shape."""
    lines = Text()
    for index, spec in enumerate(specs):
        lines.append("\n" if index else "")
        lines.append(spec.name).append(f" {spec.datatype} {shape_line(spec)}", style="dim")
    return lines


def shape_line(spec: TensorSpec) -> str:
    """``[-1,4]``; ``[]`` for a scalar; ``[any]`` if the graph declares no shape."""
    if spec.shape is None:
        return "[any]"
    return "[" + ",".join(map(str, spec.shape)) + "]" + (" optional" if spec.optional else "")


def provider_text(view: ModelView) -> Text:
    """The execution provider, the number of runners, and why this provider was chosen."""
    of = f"{_count(view.runners, 'runner')} of {_count(view.threads, 'thread')}" if view.threads else ""
    runners = "inline" if view.inline else of
    provider = view.provider.removesuffix("ExecutionProvider")
    return Text.assemble(provider, f", {runners}" if runners else "", (f"\n{view.provider_reason}", "dim"))


def batching_text(view: ModelView) -> Text:
    """The batching verdict, with the measured duration of a run with one row and with the best batch size."""
    first, best = _at(view, 1), _at(view, view.best_rows)
    if view.max_batch_size > 1:
        text = Text(f"up to {_count(view.max_batch_size, 'row')}", style="green")
    else:
        text = Text("no", style="yellow")
    measured = [f"{_duration(point.ms)} at {point.rows}" for point in dict.fromkeys((first, best)) if point is not None]
    if measured:
        text.append("\n" + ", ".join(measured), style="dim")
    # If batching pays, the two numbers are reason enough. If it does not, users want to know why.
    if view.batching_reason and (view.best_rows <= 1 or not measured):
        text.append(f"\n{view.batching_reason}{_batching_advice(view)}", style="dim" if view.batchable else "")
    return text


def batching_line(view: ModelView) -> str:
    """The batching verdict and its reason on one line."""
    verdict = f"up to {_count(view.max_batch_size, 'row')}" if view.max_batch_size > 1 else "no"
    return f"{verdict}; {view.batching_reason}{_batching_advice(view)}" if view.batching_reason else verdict


def _batching_advice(view: ModelView) -> str:
    """How to make a model batchable that was exported for a fixed batch of one, the default of most exporters."""
    fixed = any(spec.shape is not None and spec.shape[:1] == (1,) for spec in view.inputs)
    return "" if view.batchable or not fixed else "; export it with a dynamic first axis to batch requests"


def _tensors_table(view: ModelView) -> Table:
    table = _table("", "tensor", "datatype", "shape", "axes")
    for kind, specs in (("input", view.inputs), ("output", view.outputs)):
        for spec in specs:
            axes = " ".join(name or "-" for name in spec.dim_names)
            table.add_row(kind, Text(spec.name, style="bold"), spec.datatype, Text(shape_line(spec)), Text(axes))
    return table


def _curve_table(curve: Sequence[CostPoint], best_rows: int) -> Table:
    table = _table("rows", "ms per run", "ms per row", "rows per second", numbers_from=0)
    for point in curve:
        table.add_row(
            str(point.rows),
            f"{point.ms:.4g}",
            f"{point.ms / point.rows:.4g}",
            f"{point.rows / point.ms * 1e3:,.0f}" if point.ms > 0 else "-",
            style="bold green" if point.rows == best_rows else "",
        )
    return table


def _provider_line(view: ModelView) -> str:
    nodes = ", ".join(f"{_count(count, 'node')} on {name}" for name, count in view.provider_nodes.items())
    return f"{view.provider}: {view.provider_reason}" + (f" ({nodes})" if nodes else "")


def _runners_line(view: ModelView) -> str:
    if view.inline:
        line = "none: it runs on the thread that reads requests"
    else:
        line = f"{view.runners}, each with {_count(view.threads, 'thread')}"
        line = line if view.threads else f"{view.runners}"
    return f"{line}; {view.runners_reason}" if view.runners_reason else line


def _at(view: ModelView, rows: int) -> CostPoint | None:
    """The measurement for this number of rows, or the largest below: the curve ends where batching gains no more."""
    return max((point for point in view.curve if point.rows <= rows), key=lambda point: point.rows, default=None)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _duration(ms: float) -> str:
    """In the unit of the reasons beside it: microseconds below 0.1 ms."""
    return f"{ms * 1e3:.3g} us" if ms < 0.1 else f"{ms:.3g} ms"  # noqa: PLR2004  # digits would be lost


def _table(*columns: str, numbers_from: int | None = None) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold cyan")
    for index, column in enumerate(columns):
        numeric = numbers_from is not None and index >= numbers_from
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    return table
