"""What is shown of models: the table, the inspection, and JSON that says the same."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from sardonyx_server.cli.render import (
    batching_text,
    check_table,
    inspection,
    models_table,
    settings_json,
    settings_table,
    shape_line,
)
from sardonyx_server.cli.settings_sources import load_settings
from sardonyx_server.cli.startup_message import describe_readiness
from sardonyx_server.cli.views import ModelView, view_from_json, view_to_json, views_of_entries
from sardonyx_server.engine.models.registry import Registry
from sardonyx_wire.tensors import TensorSpec
from tests.server.cli.doubles import BROKEN, IRIS, MAGIKA

if TYPE_CHECKING:
    from rich.console import RenderableType


def shown(renderable: RenderableType, *, width: int = 200) -> str:
    """The text as it is printed in a pipe, a wide one unless said, without trailing blanks."""
    out = io.StringIO()
    Console(file=out, width=width, markup=False, highlight=False).print(renderable)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def test_the_table_shows_signature_provider_verdict_and_measured_times() -> None:
    """All that the start of a server owes a person, one block for each model."""
    text = shown(models_table([IRIS, MAGIKA]))
    for expected in (
        "X FP32 [-1,4]",
        "label INT64 [-1]",
        "probabilities FP32 [-1,3]",
        "CPU, inline",
        "CPU, 2 runners of 1 thread",
        "auto: the only one installed",
        "up to 64 rows",
        "6 us at 1, 7.2 us at 64",
        "bytes INT32 [-1,2048]",
        "does not pay: 5.3 ms a row alone, 6.7 ms in 16",
    ):
        assert expected in text


def test_why_a_provider_was_taken_is_said_once_where_it_is_the_same() -> None:
    """Below the table; a model that runs elsewhere has the reason in its row, and so has a model that is alone."""
    lines = shown(models_table([IRIS, MAGIKA])).splitlines()
    assert [line for line in lines if IRIS.provider_reason in line] == [f"runs on: {IRIS.provider_reason}"]
    other = replace(MAGIKA, provider_reason="config.pbtxt asks for it")
    for models in ([IRIS, other], [IRIS]):
        (line,) = (line for line in shown(models_table(models)).splitlines() if IRIS.provider_reason in line)
        assert not line.startswith("runs on:")


def test_a_broken_model_shows_its_reason_in_the_table_as_plain_text() -> None:
    """What a file says is never read as markup."""
    assert "FAILED: model.onnx is no ONNX file [bold]" in shown(models_table([BROKEN]))


def test_a_broken_model_can_be_read_in_a_narrow_terminal() -> None:
    """It stands below the models that are ready, with the whole width for its reason."""
    lines = shown(models_table([IRIS, BROKEN]), width=60).splitlines()
    assert lines[-2].split() == ["model", "version", "state"]
    assert lines[-1].endswith("FAILED: model.onnx is no ONNX file [bold]")
    assert shown(models_table([BROKEN])).splitlines()[0].split() == ["model", "version", "state"]


def test_many_models_have_a_line_each() -> None:
    """Two hundred of five lines nobody reads. Those that failed stand below, where one looks first."""
    few, many = ([replace(IRIS, name=f"m{number:03}") for number in range(count)] for count in (24, 200))
    assert "X FP32 [-1,4]" in shown(models_table(few))
    lines = shown(models_table([*many, BROKEN])).splitlines()
    assert len(lines) == 1 + 200 + 1 + 1 + 2
    assert lines[0].split() == ["model", "version", "runs", "on", "batching"]
    assert lines[1].split() == ["m000", "1", "CPU,", "inline", "up", "to", "64", "rows"]
    assert lines[201] == "'sardonyx inspect MODEL PATH' shows the details of a model"
    assert lines[-1].endswith("FAILED: model.onnx is no ONNX file [bold]")


def test_the_startup_message_says_what_the_probes_say() -> None:
    """A server with a broken model is not ready, unless it is told not to be strict."""
    assert describe_readiness([IRIS, MAGIKA], ready_s=1.25, strict=True) == "ready in 1.2 s"
    assert describe_readiness([IRIS, BROKEN], ready_s=1.25, strict=True) == "not ready: 1 of 2 failed to load"
    assert describe_readiness([IRIS, BROKEN], ready_s=1.25, strict=False) == "ready in 1.2 s, but 1 of 2 failed to load"


def test_a_model_that_is_not_to_be_loaded_is_not_shown_at_the_start() -> None:
    """In explicit mode; a broken one is."""
    registry = Registry()
    registry.set_problem("never loaded", "")
    registry.set_problem("broken", "config.pbtxt is none")
    shown = [(view.name, view.state, view.reason) for view in views_of_entries(registry.entries())]
    assert shown == [("broken", "FAILED", "config.pbtxt is none")]


def test_a_model_where_batching_does_not_pay_says_no_and_why() -> None:
    """The measured time of one row stands between."""
    assert batching_text(MAGIKA).plain == "no\n5.3 ms at 1\ndoes not pay: 5.3 ms a row alone, 6.7 ms in 16"


def test_a_model_that_was_exported_for_one_row_is_told_the_way_out() -> None:
    """In the table of the start, in check and in inspect; the signature alone would leave people wondering."""
    reason = "input 'bytes' has a first axis fixed to 1"
    fixed = (TensorSpec(name="bytes", datatype="INT32", shape=(1, 2048)),)
    view = replace(MAGIKA, inputs=fixed, batchable=False, batching_reason=reason)
    said = f"{reason}; export it with a dynamic first axis to batch requests"
    assert batching_text(view).plain == f"no\n5.3 ms at 1\n{said}"
    assert f"no; {said}" in shown(inspection(view))
    assert said in shown(check_table([view]))
    open_axis = replace(view, inputs=MAGIKA.inputs)
    assert batching_text(open_axis).plain == f"no\n5.3 ms at 1\n{reason}"


def test_an_inspection_shows_the_cost_curve_and_the_configuration() -> None:
    """Everything there is to know about one model."""
    text = shown(inspection(IRIS))
    assert "iris  version 1  loaded in 30 ms" in text
    assert "CPUExecutionProvider: auto: the only one installed (5 nodes on CPUExecutionProvider)" in text
    assert "runs on the thread that reads requests; a batch takes less than a hand-over" in text
    assert "up to 64 rows; pays to 64 rows: 6 us alone, 0.1 us a row" in text
    assert ["64", "0.0072", "0.0001125", "8,888,889"] in [line.split() for line in text.splitlines()]
    assert "warning: rate_limiter has no effect here" in text
    assert 'name: "iris"\nmax_batch_size: 64' in text
    assert "2, each with 1 thread" in shown(inspection(MAGIKA))
    assert "note: output 'y' is served as a tensor" in shown(inspection(MAGIKA))


def test_a_check_says_ok_or_failed_for_each_model() -> None:
    """With the reason, with warnings and notes."""
    lines = shown(check_table([IRIS, BROKEN])).splitlines()
    assert lines[1].split()[:3] == ["iris", "1", "ok"]
    assert "warning: rate_limiter has no effect here" in lines[2]
    assert "note: output 'y' is served as a tensor" in shown(check_table([MAGIKA]))
    assert lines[3].split(maxsplit=3) == ["bad", "1", "failed", "model.onnx is no ONNX file [bold]"]


def test_shapes_tell_scalars_from_undeclared_ones() -> None:
    """They are different things to a caller."""
    scalar, unknown = (TensorSpec(name="x", datatype="FP32", shape=shape) for shape in ((), None))
    assert (shape_line(scalar), shape_line(unknown)) == ("[]", "[any]")


@pytest.mark.parametrize("view", [IRIS, MAGIKA, BROKEN], ids=lambda view: view.name)
def test_json_holds_everything_that_a_view_holds(view: ModelView) -> None:
    """What a child process writes is what its parent shows."""
    assert view_from_json(view_to_json(view)) == view


def test_the_settings_table_shows_value_and_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    """And JSON says the same."""
    monkeypatch.setenv("SARDONYX_CORES", "2")
    loaded = load_settings(flags={"grpc_port": "9000"})
    lines = {line.split()[0]: line.split()[1:] for line in shown(settings_table(loaded)).splitlines()}
    assert lines["grpc_port"] == ["9000", "--grpc-port"]
    assert lines["cores"] == ["2", "SARDONYX_CORES"]
    assert lines["max_message_bytes"] == ["256MiB", "default"]
    assert settings_json(loaded)["grpc_port"] == {"value": "9000", "source": "flag", "where": "--grpc-port"}
