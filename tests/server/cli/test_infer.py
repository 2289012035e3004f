"""The verb ``infer`` against a server of a few lines: what it sends, what it prints, how it fails."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sardonyx_server.cli.entry import run
from sardonyx_server.cli.exit_codes import ExitCode
from tests.server.cli.doubler import Doubler

if TYPE_CHECKING:
    import pytest


def test_an_answer_is_printed_one_line_for_each_output(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Name, datatype, shape, values."""
    assert run(["infer", "double", "x=[1,2.5]", "text=hello", "--url", url]) == ExitCode.OK
    assert capsys.readouterr().out == "y  FP32 [1,2]  [[2.0, 5.0]]\ntext  BYTES [1]  ['hello']\n"


def test_json_says_the_same_for_programs(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With model, version and id."""
    arguments = ["infer", "double", "text=ü", "x=[[1,2],[3,4]]", "--id", "seven", "--json", "--url", url]
    assert run(arguments) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == {
        "model": "double",
        "version": "1",
        "id": "seven",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [[2.0, 4.0], [6.0, 8.0]]},
            {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["ü"]},
        ],
    }


def test_version_outputs_and_id_are_sent(url: str, doubler: Doubler) -> None:
    """Inputs in the model's order, whatever the order typed."""
    run(["infer", "double", "text=a", "x=@zeros", "--version", "1", "--outputs", "y,text", "--id", "i", "--url", url])
    (request,) = doubler.requests
    assert (request.model_version, request.id) == ("1", "i")
    assert [tensor.name for tensor in request.inputs] == ["x", "text"]
    assert [tensor.name for tensor in request.outputs] == ["y", "text"]


def test_a_value_that_does_not_fit_is_not_sent(url: str, doubler: Doubler, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2: the command line is wrong, not the server."""
    assert run(["infer", "double", "x=abc", "text=a", "--url", url]) == ExitCode.USAGE
    assert capsys.readouterr().err == "sardonyx: input 'x': 'abc' is not JSON: write a number or a nested list\n"
    assert doubler.requests == []


def test_a_status_of_the_server_is_one_line_and_exit_code_5(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The status by its name, the server's text, and the server."""
    assert run(["infer", "triple", "x=1", "--url", url]) == ExitCode.REQUEST_FAILED
    assert capsys.readouterr().err == f"sardonyx: NOT_FOUND: unknown model (server {url})\n"
