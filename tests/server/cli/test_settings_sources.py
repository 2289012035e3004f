"""Where settings come from: the order of the sources, and the texts for what is wrong in them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from sardonyx_server.cli.settings_sources import Origin, load_settings
from sardonyx_server.errors import SettingsError


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No SARDONYX_* or OTEL_* variables but those that a test sets."""
    for name in [name for name in os.environ if name.startswith(("SARDONYX_", "OTEL_"))]:
        monkeypatch.delenv(name)


def config_file(folder: Path, text: str) -> str:
    """A TOML file with this text."""
    path = folder / "sardonyx.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_flags_win_over_variables_over_the_file_over_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And each value remembers where it came from."""
    config = config_file(tmp_path, 'grpc_port = 1\nhttp_port = 2\ncores = 3\nhost = "a"\n')
    for name, value in {"GRPC_PORT": "10", "HTTP_PORT": "20", "HOST": ""}.items():
        monkeypatch.setenv(f"SARDONYX_{name}", value)
    loaded = load_settings(flags={"grpc_port": "100", "cores": None, "load_model": []}, config=config)
    assert (loaded.settings.grpc_port, loaded.settings.http_port, loaded.settings.cores) == (100, 20, 3)
    assert loaded.settings.host == "a"
    assert loaded.settings.max_batch_rows == 64
    assert loaded.origins["grpc_port"] == Origin(source="flag", where="--grpc-port")
    assert loaded.origins["http_port"] == Origin(source="environment", where="SARDONYX_HTTP_PORT")
    assert loaded.origins["cores"] == Origin(source="file", where=f"{config}: cores")
    assert loaded.origins["max_batch_rows"] == Origin(source="default", where="default")


def test_the_file_can_be_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And --config wins over that variable."""
    (tmp_path / "other").mkdir()
    config = config_file(tmp_path, "grpc_port = 1\n")
    other = config_file(tmp_path / "other", "grpc_port = 2\n")
    monkeypatch.setenv("SARDONYX_CONFIG", config)
    assert load_settings(flags={}).settings.grpc_port == 1
    assert load_settings(flags={}, config=other).settings.grpc_port == 2


def test_a_value_that_a_better_source_hides_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong variable can be overruled on the command line."""
    monkeypatch.setenv("SARDONYX_GRPC_PORT", "x")
    loaded = load_settings(flags={"grpc_port": "1"})
    assert loaded.settings.grpc_port == 1


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own name, not by the flag's."""
    monkeypatch.setenv("SARDONYX_TRANSPORT", "pigeon")
    with pytest.raises(SettingsError) as caught:
        load_settings(flags={})
    assert caught.value.message == "SARDONYX_TRANSPORT: expected one of auto, lane, grpcio, got 'pigeon'"


def test_a_wrong_key_of_the_file_is_named(tmp_path: Path) -> None:
    """With the file it is in."""
    config = config_file(tmp_path, 'cores = "many"\n')
    with pytest.raises(SettingsError) as caught:
        load_settings(flags={}, config=config)
    assert caught.value.message == f"{config}: cores: expected a whole number from 0 to 4096, got 'many'"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grpc-port = 1\n", "{}: grpc-port: unknown setting; did you mean 'grpc_port'?"),
        ("[server]\n", "{}: server: unknown setting; did you mean 'server_name'?"),
        ("colour = 1\n", "{}: colour: unknown setting; 'sardonyx serve --show-settings' lists all settings"),
        ("grpc_port = \n", "--config: '{}' is not valid TOML: Invalid value (at line 1, column 13)"),
    ],
)
def test_a_file_that_cannot_be_understood_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """A misspelled key is an error: it would otherwise silently have no effect."""
    config = config_file(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load_settings(flags={}, config=config)
    assert caught.value.message == message.format(config)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line says which of the two ways named it."""
    missing = str(tmp_path / "none.toml")
    with pytest.raises(SettingsError) as caught:
        load_settings(flags={}, config=missing)
    assert caught.value.message == f"--config: cannot read {missing!r}: No such file or directory"
    monkeypatch.setenv("SARDONYX_CONFIG", str(tmp_path))
    with pytest.raises(SettingsError) as caught:
        load_settings(flags={})
    assert caught.value.message == f"SARDONYX_CONFIG: cannot read {str(tmp_path)!r}: Is a directory"


def test_a_misspelled_variable_is_warned_about_and_foreign_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform sets variables of its own for a service called sardonyx; those are no mistakes."""
    environ = {
        "SARDONYX_GRPC_PROT": "1",
        "SARDONYX_SERVICE_HOST": "10.0.0.1",
        "SARDONYX_PORT_8001_TCP_ADDR": "10.0.0.1",
        "SARDONYX_URL": "x:1",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    loaded = load_settings(flags={})
    assert loaded.warnings == (
        "SARDONYX_GRPC_PROT is not a setting and has no effect; did you mean SARDONYX_GRPC_PORT?",
    )


def test_a_service_link_of_kubernetes_is_not_taken_for_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service called sardonyx-grpc makes Kubernetes set SARDONYX_GRPC_PORT=tcp://... in every pod."""
    monkeypatch.setenv("SARDONYX_GRPC_PORT", "tcp://10.0.0.1:8001")
    loaded = load_settings(flags={})
    assert loaded.settings.grpc_port == 8001
    assert loaded.warnings == (
        "SARDONYX_GRPC_PORT is ignored: 'tcp://10.0.0.1:8001' is a service link set by Kubernetes",
    )


def test_an_unknown_provider_is_refused_where_it_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any model is loaded."""
    monkeypatch.setenv("SARDONYX_PROVIDERS", "quantum")
    with pytest.raises(SettingsError, match=r"^SARDONYX_PROVIDERS: unknown provider 'quantum'"):
        load_settings(flags={})


def test_the_standard_variable_of_opentelemetry_stands_in_for_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else names the endpoint wins over it."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://standard:4318")
    loaded = load_settings(flags={})
    assert loaded.settings.trace_otlp_endpoint == "http://standard:4318"
    assert loaded.origins["trace_otlp_endpoint"] == Origin(source="environment", where="OTEL_EXPORTER_OTLP_ENDPOINT")
    config = config_file(tmp_path, 'trace_otlp_endpoint = "off"\n')
    assert load_settings(flags={}, config=config).settings.trace_otlp_endpoint is None
    monkeypatch.setenv("SARDONYX_TRACE_OTLP_ENDPOINT", "http://ours:4318")
    assert load_settings(flags={}, config=config).settings.trace_otlp_endpoint == "http://ours:4318"
    monkeypatch.delenv("SARDONYX_TRACE_OTLP_ENDPOINT")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "collector")
    with pytest.raises(SettingsError) as caught:
        load_settings(flags={})
    assert caught.value.message == (
        "OTEL_EXPORTER_OTLP_ENDPOINT: expected off or a URL that begins with http:// or https://, got 'collector'"
    )


def test_the_standard_variable_is_no_error_where_the_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Platforms set it for every program."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://standard:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "opentelemetry.sdk", raising=False)
    monkeypatch.delitem(sys.modules, "opentelemetry.sdk.trace", raising=False)
    loaded = load_settings(flags={})
    assert loaded.settings.trace_otlp_endpoint is None
    assert loaded.warnings == (
        "OTEL_EXPORTER_OTLP_ENDPOINT has no effect: OpenTelemetry is not installed: pip install 'sardonyx[otel]'",
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]", "10.0.0.1", "models.internal"])  # noqa: S104  # not bound
def test_a_server_that_asks_who_calls_and_can_be_overheard_warns(host: str, tmp_path: Path) -> None:
    """One line; nothing where only this machine can call, TLS is spoken, or nobody is asked."""
    text = (
        f"callers prove who they are, and without TLS everybody on the way to {host} can read how: set grpc_use_ssl, "
        "or put the server behind something that has TLS"
    )
    asks: dict[str, object] = {"auth_tokens_file": str(tmp_path / "tokens")}
    restricts: dict[str, object] = {"grpc_restricted_protocol": ["trace:a=b"]}
    for flags in (asks, restricts):
        assert load_settings(flags=flags | {"host": host}).warnings == (text,)
        for near in ("127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"):
            assert load_settings(flags=flags | {"host": near}).warnings == ()
    secured: dict[str, object] = {"grpc_use_ssl": "true", "grpc_server_cert": "/a.pem", "grpc_server_key": "/a.key"}
    assert load_settings(flags=asks | secured | {"host": host}).warnings == ()
    assert load_settings(flags={"host": host}).warnings == ()


def test_restrictions_come_from_a_file_and_a_variable_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values may hold what separates items of other lists."""
    config = config_file(tmp_path, 'grpc_restricted_protocol = ["trace,logging:a=b,c d", "inference:k=v"]\n')
    found = load_settings(flags={}, config=config).settings.grpc_restricted_protocol
    assert [(each.protocols, each.value) for each in found] == [(("trace", "logging"), "b,c d"), (("inference",), "v")]
    monkeypatch.setenv("SARDONYX_GRPC_RESTRICTED_PROTOCOL", "trace:a=b,c inference:k=v")
    found = load_settings(flags={}, config=config).settings.grpc_restricted_protocol
    assert [each.value for each in found] == ["b,c", "v"]
