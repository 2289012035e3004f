"""Settings: what a value may be, and that two of them do not contradict each other."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from sardonyx_server.errors import SettingsError
from sardonyx_server.setting_types import GIB, KIB, format_size
from sardonyx_server.settings import MIB, Settings


def test_defaults_listen_on_this_machine_only() -> None:
    """Nothing beyond this machine reaches a server that was told nothing."""
    assert Settings().host == "127.0.0.1"
    assert Settings().http_port is None
    assert Settings().metrics_port == 8002
    assert Settings().metrics_address == ""


def test_settings_never_change() -> None:
    """Every layer may keep them."""
    settings = Settings()
    with pytest.raises(ValidationError, match="Instance is frozen"):
        settings.grpc_port = 1


def test_settings_read_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the command line does: a server within a test or a program is what it was told to be."""
    monkeypatch.setenv("SARDONYX_GRPC_PORT", "1")
    assert Settings().grpc_port == 8001


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("grpc_port", "8001", 8001),
        ("grpc_port", 0, 0),
        ("http_port", "Off", None),
        ("http_port", "8000", 8000),
        ("metrics_port", "off", None),
        ("http_names", "sardonyx,models.internal", ("sardonyx", "models.internal")),
        ("max_message_bytes", "64MiB", 64 * MIB),
        ("max_message_bytes", " 64 mib ", 64 * MIB),
        ("max_message_bytes", 4096, 4096),
        ("max_queue_bytes", "1.5GiB", 1536 * MIB),
        ("cache_bytes", "64MiB", 64 * MIB),
        ("cache_bytes", "OFF", None),
        ("exit_timeout_secs", "2.5", 2.5),
        ("exit_timeout_secs", 0, 0.0),
        ("strict_readiness", "FALSE", False),
        ("strict_readiness", True, True),
        ("model_control_mode", "Poll", "poll"),
        ("host", " ::1 ", "::1"),
        ("trace_dir", "~/traces", Path.home() / "traces"),
        ("trace_dir", "Off", None),
        ("trace_otlp_endpoint", " http://[::1]:4318/x ", "http://[::1]:4318/x"),
        ("trace_otlp_endpoint", "none", None),
        ("providers", ["cuda,CPU"], ("cuda", "cpu")),
        ("providers", "tensorrt, CUDA", ("tensorrt", "cuda")),
        ("providers", ("cpu",), ("cpu",)),
        ("model_repository", "/a:/b", (Path("/a"), Path("/b"))),
        ("model_repository", ["/odd:name"], (Path("/odd:name"),)),
        ("model_repository", "~/models", (Path.home() / "models",)),
    ],
)
def test_a_value_is_read_from_text_or_from_toml(name: str, raw: object, value: object) -> None:
    """One model serves flags, variables and files."""
    settings = Settings.model_validate({name: raw})
    assert getattr(settings, name) == value


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("grpc_port", "65536"),
        ("grpc_port", True),
        ("grpc_port", 1.5),
        ("http_port", "-1"),
        ("http_port", False),
        ("cores", "many"),
        ("exit_timeout_secs", "nan"),
        ("exit_timeout_secs", "inf"),
        ("exit_timeout_secs", False),
        ("strict_readiness", "maybe"),
        ("transport", "carrier pigeon"),
        ("host", " "),
        ("trace_dir", ""),
        ("trace_otlp_endpoint", "localhost:4318"),
        ("trace_otlp_endpoint", "http://"),
        ("trace_otlp_endpoint", "http://[::1"),
        ("trace_rate", "-1"),
        ("load_model", "a,,b"),
        ("providers", []),
        ("providers", [1]),
        ("model_repository", ""),
        ("model_repository", "/a:"),
        ("model_repository", [1]),
        ("max_message_bytes", "1023"),
        ("cache_bytes", "0"),
        ("max_message_bytes", "2GiB"),
        ("max_message_bytes", "64 melons"),
        ("colour", "red"),
    ],
)
def test_what_makes_no_sense_is_refused(name: str, raw: object) -> None:
    """A number out of range, a boolean for a number, an empty name, a field that does not exist."""
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({name: raw})
    assert caught.value.errors()[0]["loc"][0] == name


def test_models_to_load_need_explicit_mode() -> None:
    """Otherwise the list would silently have no effect."""
    with pytest.raises(SettingsError) as caught:
        Settings(load_model=("iris",))
    assert caught.value.message == (
        "load_model is 'iris' but model_control_mode is 'none': naming models needs model_control_mode 'explicit'"
    )
    assert Settings(load_model=("iris",), model_control_mode="explicit").load_model == ("iris",)


def test_a_queue_holds_at_least_one_message_of_the_largest_size() -> None:
    """A message that passes the first limit must be able to pass the next."""
    with pytest.raises(SettingsError) as caught:
        Settings(max_queue_bytes_per_model=MIB)
    assert caught.value.message == (
        "max_queue_bytes_per_model (1MiB) is below max_message_bytes (256MiB): a request of the smaller limit "
        "could never be admitted; raise the first or lower the second"
    )


def test_a_size_is_written_in_the_largest_unit_that_is_exact() -> None:
    """What is shown is what is in force, to the byte."""
    assert [format_size(size) for size in (GIB, 1536 * MIB, 3 * KIB, 1500)] == ["1GiB", "1536MiB", "3KiB", "1500"]


def test_traces_that_are_asked_for_need_a_place_to_go_to() -> None:
    """A folder, a collector, or both."""
    with pytest.raises(SettingsError) as caught:
        Settings(trace_rate=1000)
    assert caught.value.message == (
        "trace_rate is 1000 but traces have nowhere to go: set trace_dir, trace_otlp_endpoint or both"
    )
    assert Settings(trace_rate=1000, trace_dir=Path("/traces")).trace_rate == 1000
    assert Settings(trace_rate=1000, trace_otlp_endpoint="http://collector:4318").trace_rate == 1000


@pytest.mark.parametrize(
    "raw",
    [
        ["inference,metadata:infer-key=a=b:c,d", "model-repository:admin.key_2=x y"],
        ("inference , metadata:infer-key=a=b:c,d", " model-repository:admin.key_2=x y "),
    ],
)
def test_a_restriction_is_protocols_a_header_and_its_value(raw: object) -> None:
    """The first colon and the first = count, as with Triton."""
    first, second = Settings.model_validate({"grpc_restricted_protocol": raw}).grpc_restricted_protocol
    assert (first.protocols, first.header, first.value) == (
        ("inference", "metadata"),
        "triton-grpc-protocol-infer-key",
        "a=b:c,d",
    )
    assert (second.protocols, second.header, second.value) == (
        ("model-repository",),
        "triton-grpc-protocol-admin.key_2",
        "x y",
    )


def test_in_one_text_blanks_separate_restrictions() -> None:
    """A variable is one text."""
    settings = Settings.model_validate({"grpc_restricted_protocol": "trace:a=b  logging:c=d"})
    assert [str(each) for each in settings.grpc_restricted_protocol] == ["trace:a=...", "logging:c=..."]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (["secret"], "expected PROTOCOL[,PROTOCOL]:KEY=VALUE, got none of this form"),
        (["inference:secret"], "expected PROTOCOL[,PROTOCOL]:KEY=VALUE, got none of this form"),
        (["inference=secret"], "expected PROTOCOL[,PROTOCOL]:KEY=VALUE, got none of this form"),
        ([1], "expected text, or a list of texts"),
        ({"inference": "secret"}, "expected text, or a list of texts"),
        (
            ["model-reposit,health:k=secret"],
            (
                "unknown protocol 'model-reposit'; there are health, metadata, inference, shared-memory, model-config, "
                "model-repository, statistics, trace, logging"
            ),
        ),
        (
            ["inference,:k=secret"],
            (
                "unknown protocol ''; there are health, metadata, inference, shared-memory, model-config, "
                "model-repository, statistics, trace, logging"
            ),
        ),
        (
            ["model-repository,health:k1=secret", "metadata,health:k2=secret"],
            "protocol 'health' is named more than once; name it in one group only",
        ),
        (["health,health:k=secret"], "protocol 'health' is named more than once; name it in one group only"),
        (["health:=secret"], "key '' is no part of a header name; use a-z 0-9 _ . -"),
        (["health:Admin=secret"], "key 'Admin' is no part of a header name; use a-z 0-9 _ . -"),
        (
            ["health:k="],
            (
                "the value for key 'k' is empty, or not what a header can hold; take printable ASCII without blanks at "
                "its ends"
            ),
        ),
        (
            ["health:k=sécret"],
            (
                "the value for key 'k' is empty, or not what a header can hold; take printable ASCII without blanks at "
                "its ends"
            ),
        ),
    ],
)
def test_what_is_wrong_with_a_restriction_is_told_without_its_value(raw: object, text: str) -> None:
    """It is a secret, and messages end in logs."""
    with pytest.raises(SettingsError) as caught:
        Settings.model_validate({"grpc_restricted_protocol": raw})
    assert caught.value.message == f"grpc_restricted_protocol: {text}"
    assert "secret" not in caught.value.message


def test_tls_needs_its_files() -> None:
    """As Triton has it: mutual is TLS by itself."""

    def said(**given: object) -> str:
        with pytest.raises(SettingsError) as caught:
            Settings.model_validate(given)
        return caught.value.message

    own = {"grpc_server_cert": "/own.pem", "grpc_server_key": "/own.key"}
    assert said(grpc_use_ssl=True, grpc_server_cert="/own.pem") == (
        "grpc_use_ssl is true but grpc_server_key is not set: TLS needs grpc_server_cert and grpc_server_key"
    )
    assert said(grpc_use_ssl_mutual=True, **own) == (
        "grpc_use_ssl_mutual is true but grpc_root_cert is not set: TLS needs grpc_server_cert and grpc_server_key and "
        "grpc_root_cert"
    )
    assert Settings.model_validate({"grpc_use_ssl": True, **own}).uses_tls
    assert Settings.model_validate({"grpc_use_ssl_mutual": True, **own, "grpc_root_cert": "/ca.pem"}).uses_tls
    assert not Settings().uses_tls


@pytest.mark.parametrize(
    ("name", "needs", "more"),
    [
        ("grpc_server_cert", "grpc_use_ssl", {}),
        ("grpc_server_key", "grpc_use_ssl", {}),
        ("grpc_root_cert", "grpc_use_ssl_mutual", {}),
        (
            "grpc_root_cert",
            "grpc_use_ssl_mutual",
            {"grpc_use_ssl": True, "grpc_server_cert": "/own.pem", "grpc_server_key": "/own.key"},
        ),
    ],
)
def test_files_without_their_switch_are_no_protection(name: str, needs: str, more: dict[str, object]) -> None:
    """Triton takes no notice of them, and then everybody can read what goes over, or call."""
    with pytest.raises(SettingsError) as caught:
        Settings.model_validate({**more, name: "/some.pem"})
    assert caught.value.message == (
        f"{name} is set but {needs} is false, so it would have no effect: set {needs} to true, or leave {name} out"
    )
