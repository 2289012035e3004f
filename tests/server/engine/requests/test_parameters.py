"""Parameters that mean something, and those that are refused."""

from __future__ import annotations

import math

import pytest

from sardonyx_server.engine.requests.parameters import (
    RegionRef,
    RequestParameters,
    read_class_count,
    read_region_ref,
    read_request_parameters,
)
from sardonyx_server.errors import InvalidRequest
from sardonyx_wire.request_reader import ParameterValue


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


WHERE: dict[str, str] = {"what": "output 'y'", "field": "outputs[0].parameters"}


def test_a_place_is_a_region_with_a_size() -> None:
    """The offset is 0 where nothing is said."""
    given: dict[str, ParameterValue] = {"shared_memory_region": "r", "shared_memory_byte_size": 8}
    assert read_region_ref(given, **WHERE) == RegionRef(region="r", offset=0, byte_size=8)
    assert read_region_ref({**given, "shared_memory_offset": 2**63}, **WHERE) == RegionRef(
        region="r", offset=2**63, byte_size=8
    )


@pytest.mark.parametrize("parameters", [{}, {"binary_data": True}, {"classification": 2}])
def test_other_parameters_of_tensors_pass(parameters: dict[str, ParameterValue]) -> None:
    """Such as those of HTTP that a gateway passes on."""
    assert read_region_ref(parameters, **WHERE) is None


@pytest.mark.parametrize(
    ("parameters", "name", "expected"),
    [
        (
            {"shared_memory_region": "r"},
            "shared_memory_byte_size",
            "parameter 'shared_memory_region' of output 'y' needs 'shared_memory_byte_size' beside it",
        ),
        (
            {"shared_memory_byte_size": 8},
            "shared_memory_byte_size",
            "parameter 'shared_memory_byte_size' of output 'y' needs 'shared_memory_region' beside it",
        ),
        (
            {"shared_memory_offset": 8},
            "shared_memory_offset",
            "parameter 'shared_memory_offset' of output 'y' needs 'shared_memory_region' beside it",
        ),
        (
            {"shared_memory_region": 7, "shared_memory_byte_size": 8},
            "shared_memory_region",
            "parameter 'shared_memory_region' of output 'y': expected the name of a region, got int",
        ),
        (
            {"shared_memory_region": "r", "shared_memory_byte_size": "8"},
            "shared_memory_byte_size",
            "parameter 'shared_memory_byte_size' of output 'y': expected an integer of at least 0, got str",
        ),
        (
            {"shared_memory_region": "r", "shared_memory_byte_size": 8, "shared_memory_offset": -1},
            "shared_memory_offset",
            "parameter 'shared_memory_offset' of output 'y': expected an integer of at least 0, got -1",
        ),
    ],
)
def test_half_a_place_is_refused(parameters: dict[str, ParameterValue], name: str, expected: str) -> None:
    """With the parameter that is wrong or missing."""
    with pytest.raises(InvalidRequest) as refusal:
        read_region_ref(parameters, **WHERE)
    assert refusal.value.message == expected
    assert refusal.value.field == f"outputs[0].parameters[{name}]"


def test_a_class_count() -> None:
    """0 where none is asked for."""
    assert read_class_count({}, **WHERE) == 0
    assert read_class_count({"classification": 2**62}, **WHERE) == 2**62


@pytest.mark.parametrize(("value", "shown"), [(0, "0"), (-1, "-1"), (True, "True"), (1.5, "1.5"), ("3", "str")])
def test_a_class_count_that_is_none_is_refused(value: ParameterValue, shown: str) -> None:
    """At least one class, as an integer."""
    with pytest.raises(InvalidRequest) as refusal:
        read_class_count({"classification": value}, **WHERE)
    assert refusal.value.message == (
        f"parameter 'classification' of output 'y': expected an integer of at least 1, got {shown}"
    )
    assert refusal.value.field == "outputs[0].parameters[classification]"
