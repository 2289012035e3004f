"""Parameters that mean something, and those that are refused."""

from __future__ import annotations

import math

import pytest

from sardonyx_server.engine.parameters import RequestParameters, check_tensor_parameters, read_request_parameters
from sardonyx_server.errors import InvalidRequest, Unsupported
from sardonyx_wire.requests import ParameterValue


def test_nothing_said_is_the_default() -> None:
    """No priority, no timeout."""
    assert read_request_parameters({}) == RequestParameters(priority=0, timeout_s=math.inf)


def test_priority_and_timeout() -> None:
    """The timeout comes in microseconds."""
    assert read_request_parameters({"priority": 2, "timeout": 1500}) == RequestParameters(priority=2, timeout_s=0.0015)


def test_the_greatest_numbers_pass() -> None:
    """uint64 and int64 as they are."""
    found = read_request_parameters({"priority": 2**64 - 1, "timeout": 2**63 - 1})
    assert found == RequestParameters(priority=2**64 - 1, timeout_s=(2**63 - 1) / 1e6)


def test_a_timeout_of_zero_is_none() -> None:
    """As Triton has it."""
    assert read_request_parameters({"timeout": 0}).timeout_s == math.inf


@pytest.mark.parametrize("value", [True, 7, -7, "text", 1.5])
def test_keys_of_the_callers_own_pass(value: ParameterValue) -> None:
    """Of any type."""
    assert read_request_parameters({"my key": value}) == RequestParameters()


@pytest.mark.parametrize(
    "parameters",
    [
        {"sequence_id": 0, "sequence_start": False, "sequence_end": False},
        {"sequence_id": ""},
        {"triton_enable_empty_final_response": True},
        {"triton_enable_empty_final_response": False},
    ],
)
def test_what_clients_send_unasked_passes(parameters: dict[str, ParameterValue]) -> None:
    """It asks for nothing."""
    assert read_request_parameters(parameters) == RequestParameters()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("priority", -1, "parameter 'priority': expected an integer of at least 0, got -1"),
        ("priority", True, "parameter 'priority': expected an integer of at least 0, got True"),
        ("timeout", "5", "parameter 'timeout': expected an integer of at least 0, got str"),
        ("timeout", 1.5, "parameter 'timeout': expected an integer of at least 0, got 1.5"),
        (
            "sequence_id",
            7,
            "parameter 'sequence_id': the model has no sequence batching; send no sequence parameters",
        ),
        (
            "sequence_start",
            True,
            "parameter 'sequence_start': the model has no sequence batching; send no sequence parameters",
        ),
        ("sequence_id", 1.5, "parameter 'sequence_id': expected an integer or a string, got float"),
        ("sequence_end", "yes", "parameter 'sequence_end': expected a boolean, got str"),
    ],
)
def test_a_wrong_type_or_value_is_refused(name: str, value: ParameterValue, expected: str) -> None:
    """With the parameter, what was expected and what came."""
    with pytest.raises(InvalidRequest) as refusal:
        read_request_parameters({name: value})
    assert refusal.value.message == expected
    assert refusal.value.field == f"parameters[{name}]"


def test_reserved_names_are_refused() -> None:
    """A misspelt one would otherwise be ignored in silence."""
    with pytest.raises(InvalidRequest) as refusal:
        read_request_parameters({"triton_enable_nothing": True})
    assert refusal.value.message == (
        "parameter 'triton_enable_nothing': names that begin with 'triton_' are reserved and this one is unknown"
    )


def test_far_too_many_are_refused() -> None:
    """Each would be looked at for each request."""
    with pytest.raises(InvalidRequest) as refusal:
        read_request_parameters({str(index): index for index in range(100_000)})
    assert refusal.value.message == "parameters: expected at most 1024 entries, got 100000"


@pytest.mark.parametrize(
    "name", ["classification", "shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"]
)
def test_what_is_not_served_is_not_ignored_either(name: str) -> None:
    """The answer would be another one than was asked for."""
    with pytest.raises(Unsupported) as refusal:
        check_tensor_parameters({name: 1}, what="output 'y'", field="outputs[0].parameters")
    assert refusal.value.message == (
        f"parameter '{name}' of output 'y' (outputs[0].parameters) is not supported by this server"
    )


def test_other_parameters_of_tensors_pass() -> None:
    """Such as those of HTTP that a gateway passes on."""
    check_tensor_parameters({"binary_data": True}, what="output 'y'", field="outputs[0].parameters")
