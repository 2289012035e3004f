"""The server's settings as one frozen model. A field's description is its flag's help and its row in the docs.

Types and validation are in ``setting_types``; ``cli/settings_sources.py`` reads arguments, environment and file. The
layers below the command line receive a ``Settings`` and nothing else.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sardonyx_server.errors import SettingsError
from sardonyx_server.setting_types import (
    GIB,
    MESSAGE_BYTES_LIMIT,
    MIB,
    PROTOCOLS,
    AnyText,
    Boolean,
    Bytes,
    CaseInsensitive,
    CompressionLevel,
    Integer,
    Names,
    NonEmptyText,
    OptionalBytes,
    OptionalPath,
    OptionalPort,
    OptionalUrl,
    Paths,
    Port,
    Restrictions,
    Seconds,
    format_size,
)

__all__ = ["MIB", "Settings"]


class Settings(BaseModel):
    """All settings of one server. Immutable; built once, by the command line or a test.

    Raises:
        SettingsError: Two fields contradict each other.
        pydantic.ValidationError: A value is not allowed; ``cli/settings_sources.py`` makes one line of this.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, str_strip_whitespace=True, allow_inf_nan=False
    )

    model_repository: Paths = Field(
        default=(),
        description="A model repository, a folder of .onnx files, or one .onnx file. May be given several times.",
    )
    host: NonEmptyText = Field(
        default="127.0.0.1", description="Address to listen on. 0.0.0.0 or [::] listens on every interface."
    )
    grpc_port: Port = Field(default=8001, description="Port of the gRPC service; 0 takes any free one.")
    grpc_use_ssl: Boolean = Field(
        default=False,
        description="gRPC over TLS, 1.2 or newer, with --grpc-server-cert and --grpc-server-key.",
    )
    grpc_use_ssl_mutual: Boolean = Field(
        default=False,
        description="The same, and callers must have a certificate of an authority in --grpc-root-cert.",
    )
    grpc_server_cert: OptionalPath = Field(
        default=None,
        description="PEM file with the server's certificate, then those between it and its root; a renewed one is "
        "taken without a restart.",
    )
    grpc_server_key: OptionalPath = Field(
        default=None, description="PEM file with the key of that certificate, not encrypted; may be renewed with it."
    )
    grpc_root_cert: OptionalPath = Field(
        default=None, description="PEM file with the authorities of callers, for --grpc-use-ssl-mutual."
    )
    http_port: OptionalPort = Field(
        default=None,
        description="Port of the HTTP probes GET /livez, /readyz, /v2/health/live and /v2/health/ready; "
        "0 takes any free one.",
    )
    metrics_port: OptionalPort = Field(
        default=8002,
        description="Port of the Prometheus metrics, GET /metrics, and of the same probes; 0 takes any free one.",
    )
    metrics_address: AnyText = Field(
        default="", description="Address to listen on for --metrics-port; empty: the address of --host."
    )
    http_names: Names = Field(
        default=(),
        description="Host names that --http-port and --metrics-port answer to, besides IP addresses, localhost and the "
        "address listened on; for example the name that Prometheus scrapes. '*' allows any.",
    )
    model_control_mode: Annotated[Literal["none", "poll", "explicit"], CaseInsensitive] = Field(
        default="none",
        description="none loads every model once; poll follows changes on disk; explicit loads what --load-model "
        "names, and lets callers load and unload models.",
    )
    repository_poll_secs: Seconds = Field(
        default=15.0,
        ge=0.1,
        le=86_400,
        description="How often poll mode scans the disk, for file systems that report no changes (network disks).",
    )
    load_model: Names = Field(
        default=(), description="A model to load at start in explicit mode; '*' loads all. May be given several times."
    )
    strict_readiness: Boolean = Field(
        default=True,
        description="Ready only when every model to be loaded is ready; false: as soon as requests are accepted.",
    )
    exit_on_error: Boolean = Field(default=False, description="Exit with code 3 when a model fails to load at start.")
    exit_timeout_secs: Seconds = Field(
        default=30.0, ge=0, le=86_400, description="Longest wait for requests in flight after SIGTERM or Ctrl-C."
    )
    providers: Annotated[Names, CaseInsensitive] = Field(
        default=("auto",),
        min_length=1,
        description="Execution providers in order of preference, such as cuda,cpu. auto takes the best available; a "
        "named provider that is missing is an error, never a silent fallback to the CPU.",
    )
    provider_cache_dir: OptionalPath = Field(
        default=None,
        description="Existing folder where TensorRT and OpenVINO cache compiled models, which shortens later loads.",
    )
    transport: Annotated[Literal["auto", "lane", "grpcio"], CaseInsensitive] = Field(
        default="auto",
        description="lane is the fast gRPC transport, grpcio the slower one on grpcio's public API; auto takes lane if "
        "its self-check passes.",
    )
    cores: Integer = Field(
        default=0,
        ge=0,
        le=4096,
        description="CPU cores to divide among the models; 0 detects them (container limits included).",
    )
    max_message_bytes: Bytes = Field(
        default=256 * MIB,
        le=MESSAGE_BYTES_LIMIT,
        description="Largest request message, after decompression, and largest answer.",
    )
    grpc_infer_response_compression_level: Annotated[CompressionLevel, CaseInsensitive] = Field(
        default="none",
        description="Level of compression (gzip or deflate) of the responses of all RPCs, for clients that accept it; "
        "requests may always be compressed.",
    )
    max_queue_rows_per_model: Integer = Field(
        default=8192,
        ge=1,
        le=10**9,
        description="Rows that may be queued for one model before further requests are refused.",
    )
    max_queue_bytes_per_model: Bytes = Field(
        default=512 * MIB,
        description="Bytes of requests that may be queued for one model before further ones are refused.",
    )
    max_queue_bytes: Bytes = Field(
        default=GIB,
        description="Bytes of requests that may be queued for all models together before further ones are refused. The "
        "same limit applies to responses that callers do not read: beyond it, connections that hold their share of "
        "them are refused.",
    )
    cache_bytes: OptionalBytes = Field(
        default=256 * MIB,
        description="Size of the response cache, for models whose config has response_cache { enable: true }; off "
        "disables it.",
    )
    probe_budget_s: Seconds = Field(
        default=1.0,
        ge=0,
        le=600,
        description="Time limit for measuring one model at load (whether batching pays, how many threads to use), four "
        "times as long if other processes use the cores; 0 disables measuring.",
    )
    max_batch_rows: Integer = Field(
        default=64,
        ge=1,
        le=65_536,
        description="Upper limit of the measured batch size, for models whose config sets none.",
    )
    allow_client_shm: Boolean = Field(
        default=False,
        description="Allow clients to register shared memory of this machine and to pass tensors in it.",
    )
    server_name: NonEmptyText = Field(default="sardonyx", description="Name the server gives in ServerMetadata.")
    keepalive_min_ping_interval_s: Seconds = Field(
        default=10.0,
        ge=0,
        le=3600,
        description="A client that pings more often than this is disconnected, with or without calls in flight.",
    )
    auth_tokens_file: OptionalPath = Field(
        default=None,
        description="File of bearer tokens, one on each line: calls must carry one as authorization: Bearer TOKEN, "
        "except health probes. Read again when it changes.",
    )
    grpc_restricted_protocol: Restrictions = Field(
        default=(),
        description="Calls of these protocols must carry the header triton-grpc-protocol-KEY: VALUE. Protocols are "
        f"{', '.join(PROTOCOLS)}. May be given several times.",
    )
    allow_admin: Boolean = Field(
        default=False, description="Allow callers to change trace and log settings; reading them is always allowed."
    )
    trace_rate: Integer = Field(
        default=0,
        ge=0,
        le=2**31 - 1,
        description="Trace one in this many requests of each model; 0 traces none until TraceSetting enables it.",
    )
    trace_dir: OptionalPath = Field(
        default=None,
        description="Existing folder for trace files (JSON lines, at most 128 MiB).",
    )
    trace_otlp_endpoint: OptionalUrl = Field(
        default=None,
        description="URL of the collector to send traces to over OTLP/HTTP, such as http://localhost:4318; needs the "
        "extra otel.",
    )
    log_format: Annotated[Literal["auto", "json", "console"], CaseInsensitive] = Field(
        default="auto",
        description="auto: readable lines at a terminal, one JSON object per line in a pipe or under a service "
        "manager.",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], CaseInsensitive] = Field(
        default="info", description="Lowest severity that is logged."
    )

    @model_validator(mode="after")
    def _require_agreement(self) -> Self:
        if self.load_model and self.model_control_mode != "explicit":
            raise SettingsError(
                f"load_model is {','.join(self.load_model)!r} but model_control_mode is {self.model_control_mode!r}: "
                "naming models needs model_control_mode 'explicit'"
            )
        self._require_certificates()
        if self.trace_rate and self.trace_dir is None and self.trace_otlp_endpoint is None:
            raise SettingsError(
                f"trace_rate is {self.trace_rate} but traces have nowhere to go: set trace_dir, trace_otlp_endpoint or "
                "both"
            )
        sizes = ("max_message_bytes", "max_queue_bytes_per_model", "max_queue_bytes")
        for smaller, larger in pairwise(sizes):
            low, high = getattr(self, smaller), getattr(self, larger)
            if low > high:
                raise SettingsError(
                    f"{larger} ({format_size(high)}) is below {smaller} ({format_size(low)}): "
                    "a request of the smaller limit could never be admitted; raise the first or lower the second"
                )
        return self

    @property
    def uses_tls(self) -> bool:
        """Whether gRPC is spoken over TLS."""
        return self.grpc_use_ssl or self.grpc_use_ssl_mutual

    def _require_certificates(self) -> None:
        """What TLS needs is there, and nothing is there that only looks like TLS."""
        files = {
            "grpc_server_cert": self.grpc_server_cert,
            "grpc_server_key": self.grpc_server_key,
            "grpc_root_cert": self.grpc_root_cert,
        }
        switch = "grpc_use_ssl_mutual" if self.grpc_use_ssl_mutual else "grpc_use_ssl"
        needed = [*files][: 3 if self.grpc_use_ssl_mutual else 2 if self.grpc_use_ssl else 0]
        for name, path in files.items():
            if path is None and name in needed:
                raise SettingsError(f"{switch} is true but {name} is not set: TLS needs {' and '.join(needed)}")
            if path is not None and name not in needed:
                wants = "grpc_use_ssl_mutual" if name == "grpc_root_cert" else "grpc_use_ssl"
                raise SettingsError(
                    f"{name} is set but {wants} is false, so it would have no effect: set {wants} to true, or leave "
                    f"{name} out"
                )
