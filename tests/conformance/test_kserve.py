"""kserve's InferenceGRPCClient, unmodified, from an environment of its own, on both transports."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.conformance.tools import KSERVE
from tests.e2e.servers import CALL_TIMEOUT_S, Server

if TYPE_CHECKING:
    from collections.abc import Mapping

SCRIPT: Final = Path(__file__).with_name("kserve_client.py")
# It has no BF16.
DATATYPES: Final = (
    "BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "FP32", "FP64", "BYTES",
)  # fmt: skip


@pytest.fixture(scope="module")
def found(server: Server) -> Mapping[str, Any]:
    """What its client found."""
    KSERVE.require()
    command: list[str | Path] = [KSERVE.folder / "bin/python", SCRIPT, server.app.address]
    # No variables of ours: a PYTHONPATH would let it import from these sources.
    done = subprocess.run(
        command,
        env={"HOME": str(KSERVE.folder)},
        capture_output=True,
        text=True,
        timeout=4 * CALL_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


def test_every_public_method_is_called(found: Mapping[str, Any]) -> None:
    """A release of kserve with a new one fails here until somebody looks at it."""
    assert found["methods"] == ["close", "infer", "is_model_ready", "is_server_live", "is_server_ready"]


def test_health(found: Mapping[str, Any]) -> None:
    """Of the server and of a model."""
    assert (found["live"], found["ready"], found["model ready"]) == (True, True, True)
    assert found["unknown model ready"] == "NOT_FOUND"


def test_an_inference_with_all_its_arguments(found: Mapping[str, Any]) -> None:
    """Id, parameters of three types, outputs by name, headers."""
    assert (found["id"], found["outputs"]) == ("my id", ["y"])
    assert found["y"] == pytest.approx(-1.75)


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_makes_the_round_trip(found: Mapping[str, Any], datatype: str) -> None:
    """In raw contents, and typed where the protocol has a field for it."""
    assert found["raw"][datatype]
    assert found["typed"].get(datatype, datatype == "FP16")


def test_errors_are_statuses(found: Mapping[str, Any], server: Server) -> None:
    """It retries what is UNAVAILABLE and hands on everything else."""
    assert (found["unknown"], found["bad"], found["late"]) == ("NOT_FOUND", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED")
    server.assert_well()
