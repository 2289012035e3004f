"""What a client is told becomes what grpc's channels take."""

from __future__ import annotations

import json
from importlib import metadata
from typing import Any

import numpy as np
import pytest

import sardonyx_client
from sardonyx_client import AsyncClient, Client, Coalesce, InvalidArgument, Retry
from sardonyx_client._channel_config import channel_options, parse_target
from sardonyx_client._timeout import CLIENT_DEFAULT, resolve_timeout_s


@pytest.mark.parametrize(
    ("addresses", "target"),
    [
        ("models:8001", "models:8001"),
        ("unix:/run/sardonyx.sock", "unix:/run/sardonyx.sock"),
        (["models:8001"], "models:8001"),
        (["127.0.0.1:1", "127.0.0.2:2"], "ipv4:127.0.0.1:1,127.0.0.2:2"),
        (["[::1]:1", "[::2]:2"], "ipv6:[::1]:1,[::2]:2"),
    ],
)
def test_addresses_become_one_target(addresses: Any, target: str) -> None:
    """One is left as it is; several are one list."""
    assert parse_target(addresses) == target


@pytest.mark.parametrize(
    ("addresses", "text"),
    [
        ([], "expected at least one, got none"),
        ("", "address: expected 'host:port', got ''"),
        (8001, "address: expected 'host:port', got 8001"),
        (
            "http://models:8001/",
            "address 'http://models:8001/': expected host:port, without http://, such as 'models:8001'",
        ),
        (["grpc://models:8001"], "expected host:port, without grpc://, such as 'models:8001'"),
        (["127.0.0.1:1", "models"], "address 'models': expected host:port where several addresses are given"),
        (["127.0.0.1:1", "[::1]:2"], "are partly IPv4 and partly IPv6; give one kind"),
        (["127.0.0.1:1", "no such host.invalid:2"], "address 'no such host.invalid:2': "),
    ],
)
def test_addresses_that_cannot_be_used_are_refused(addresses: Any, text: str) -> None:
    """With the one that is wrong."""
    with pytest.raises(InvalidArgument) as raised:
        parse_target(addresses)
    assert text in raised.value.message


@pytest.mark.parametrize("front", [Client, AsyncClient])
@pytest.mark.parametrize("timeout_s", ["1", -1, 0, True, float("nan")])
def test_a_limit_that_is_none_is_refused_when_the_client_is_made(front: Any, timeout_s: Any) -> None:
    """Not at the first call, which may be much later."""
    with pytest.raises(InvalidArgument) as raised:
        front("models:8001", timeout_s=timeout_s)
    assert raised.value.message == (f"timeout_s: expected seconds above 0, or None for no limit, got {timeout_s!r}")


@pytest.mark.parametrize("timeout_s", [None, 1, 0.5, float("inf"), np.float32(2)])
def test_numbers_above_0_and_none_are_limits(timeout_s: Any) -> None:
    """NumPy's too."""
    with Client("models:8001", timeout_s=timeout_s) as client:
        assert client.timeout_s == (None if timeout_s == float("inf") else timeout_s)


@pytest.mark.parametrize(
    ("timeout_s", "want"), [(9e8, 9e8), (1e9, None), (1e10, None), (float("inf"), None), (None, None), (0, 0), (-1, -1)]
)
def test_what_outlasts_everybody_is_no_limit(timeout_s: Any, want: float | None) -> None:
    """To grpc the end of 10,000,000,000 seconds is one that is over."""
    assert resolve_timeout_s(timeout_s, 60.0) == resolve_timeout_s(CLIENT_DEFAULT, timeout_s) == want


def test_a_limit_of_a_call_that_is_no_number_is_refused() -> None:
    """As one of a client is."""
    with Client("models:8001") as client, pytest.raises(InvalidArgument) as raised:
        client.infer("m", x=[1.0], timeout_s=float("nan"))
    assert raised.value.message == "timeout_s: expected seconds, or None for no limit, got nan"


def test_a_client_shows_where_it_goes_and_whether_it_is_closed() -> None:
    """And not its token."""

    def secret() -> str:
        return "never shown"

    client = Client(["127.0.0.1:1", "127.0.0.2:2"], token=secret)
    assert repr(client) == "<Client of ipv4:127.0.0.1:1,127.0.0.2:2>"
    client.close()
    assert repr(client) == "<Client of ipv4:127.0.0.1:1,127.0.0.2:2, closed>"
    assert repr(AsyncClient("models:8001", token=secret)) == "<AsyncClient of models:8001>"


def test_the_package_tells_its_version() -> None:
    """That of the distribution."""
    assert sardonyx_client.__version__ == metadata.version("sardonyx")


def test_only_what_may_run_twice_is_retried() -> None:
    """No loading, no unloading, no streams."""
    options = dict(
        channel_options(multiple_addresses=True, retry=Retry(), tls=None, max_message_bytes=None, keepalive_s=None)
    )
    config = json.loads(str(options["grpc.service_config"]))
    (policy,) = config["methodConfig"]
    names = {name["method"] for name in policy["name"]}
    assert "ModelInfer" in names
    assert names.isdisjoint({"RepositoryModelLoad", "RepositoryModelUnload", "ModelStreamInfer"})
    assert policy["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    assert config["healthCheckConfig"] == {"serviceName": ""}


def test_a_single_server_is_not_asked_for_its_health() -> None:
    """One that wants a token for it would get no calls at all, and there is no other to go to."""
    options = dict(
        channel_options(multiple_addresses=False, retry=None, tls=None, max_message_bytes=1, keepalive_s=2.0)
    )
    assert "healthCheckConfig" not in json.loads(str(options["grpc.service_config"]))
    assert options["grpc.max_receive_message_length"] == 1
    assert options["grpc.keepalive_time_ms"] == 2000


@pytest.mark.parametrize(
    "retry",
    [
        Retry(initial_backoff_s=1 / 30),
        Retry(initial_backoff_s=0.001),
        Retry(max_backoff_s=86_400.0),
        Retry(budget=5000, tokens_per_success=1 / 3),
        Retry(budget=1, tokens_per_success=0.001),
    ],
)
def test_whatever_a_retry_may_say_makes_a_channel(retry: Retry) -> None:
    """GRPC's core takes nine decimals and no exponent; with a policy that it cannot read every call failed."""
    with Client("127.0.0.1:1", retry=retry) as client:
        assert not client.live()


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 1},
        {"max_attempts": 6},
        {"initial_backoff_s": 2.0},
        {"initial_backoff_s": 1e-5},
        {"max_backoff_s": 1e6},
        {"backoff_multiplier": 0.5},
        {"backoff_multiplier": float("inf")},
        {"budget": 0},
        {"tokens_per_success": 0.0001},
        {"tokens_per_success": float("nan")},
    ],
)
def test_retries_without_sense_are_refused(wrong: Any) -> None:
    """GRPC's core would quietly do something else."""
    with pytest.raises(InvalidArgument, match="of a Retry: expected"):
        Retry(**wrong)


def test_coalescing_without_sense_is_refused() -> None:
    """One row cannot be joined."""
    with pytest.raises(InvalidArgument, match="expected max_rows of at least 2 and in_flight of at least 1, got 1"):
        Coalesce(max_rows=1)


def test_an_unknown_compression_is_refused() -> None:
    """With those there are."""
    with pytest.raises(InvalidArgument, match="expected 'gzip', 'deflate' or None, got 'zip'"):
        Client("models:8001", compression="zip")  # type: ignore[arg-type]  # that is the point
