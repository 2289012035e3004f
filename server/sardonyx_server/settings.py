"""The server's settings as one frozen model. A field's description is its flag's help and its row in the docs.

Types and validation are in ``setting_types``. This module reads no environment, file or arguments: ``cli/sources.py``
does. The layers below the command line receive a ``Settings`` and nothing else.
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
    Seconds,
    format_size,
)

__all__ = ["MIB", "Settings"]


class Settings(BaseModel):
    """All settings of one server. Immutable; built once, by the command line or a test.

    Raises:
        SettingsError: Two fields contradict each other.
        pydantic.ValidationError: A value is not allowed; ``cli/sources.py`` turns this into a one-line message.
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
    http_port: OptionalPort = Field(
        default=None,
        description="Port for the probes GET /livez, /readyz, /v2/health/live and /v2/health/ready; "
        "0 takes any free one.",
    )
    metrics_port: OptionalPort = Field(
        default=8002,
        description="Port for Prometheus, GET /metrics, and for the same probes; 0 takes any free one.",
    )
    metrics_address: AnyText = Field(
        default="", description="Address to listen on for Prometheus; empty: the one of --host."
    )
    http_names: Names = Field(
        default=(),
        description="Names by which --http-port and --metrics-port may be asked for, besides addresses, localhost and "
        "the one listened on: what a Prometheus scrapes, for example. '*' allows any.",
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
        description="How often poll mode looks by itself, where the system reports no changes (network disks).",
    )
    load_model: Names = Field(
        default=(), description="A model to load at start in explicit mode; '*' loads all. May be given several times."
    )
    strict_readiness: Boolean = Field(
        default=True,
        description="Ready only when every model that was to be loaded is ready; false: as soon as the server answers.",
    )
    exit_on_error: Boolean = Field(default=False, description="Exit with code 3 when a model fails to load at start.")
    exit_timeout_secs: Seconds = Field(
        default=30.0, ge=0, le=86_400, description="Longest wait for requests in flight after SIGTERM or Ctrl-C."
    )
    providers: Annotated[Names, CaseInsensitive] = Field(
        default=("auto",),
        min_length=1,
        description="Execution providers in order of preference, such as cuda,cpu. auto takes the best that is there; "
        "one that is named and missing is an error, never a silent fall to CPU.",
    )
    provider_cache_dir: OptionalPath = Field(
        default=None,
        description="Existing folder where TensorRT and OpenVINO keep what they compile; later loads are short.",
    )
    transport: Annotated[Literal["auto", "lane", "grpcio"], CaseInsensitive] = Field(
        default="auto",
        description="lane is the fast path, grpcio its slower twin on public API; auto takes the lane if its "
        "self-check passes.",
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
        description="How much work goes into compressing answers (gzip or deflate, of every RPC) for clients that "
        "accept it; requests may always be compressed.",
    )
    max_queue_rows_per_model: Integer = Field(
        default=8192,
        ge=1,
        le=10**9,
        description="Rows that may wait for one model before further requests are refused.",
    )
    max_queue_bytes_per_model: Bytes = Field(
        default=512 * MIB, description="Bytes of requests that may wait for one model before further ones are refused."
    )
    max_queue_bytes: Bytes = Field(
        default=GIB,
        description="Bytes of requests that may wait in all models together before further ones are refused; and "
        "of answers that callers do not read, before connections that have their share of them are refused.",
    )
    cache_bytes: OptionalBytes = Field(
        default=256 * MIB,
        description="Bytes of answers that are kept for models whose config has response_cache { enable: true }; off "
        "keeps none.",
    )
    probe_budget_s: Seconds = Field(
        default=1.0,
        ge=0,
        le=600,
        description="Longest time spent on measuring one model at load (does batching pay, how many threads), four "
        "times as much where others use the cores; 0 measures nothing.",
    )
    max_batch_rows: Integer = Field(
        default=64,
        ge=1,
        le=65_536,
        description="Cap of the batch size chosen by measurement, for models whose config sets none.",
    )
    allow_client_shm: Boolean = Field(
        default=False,
        description="Clients may register shared memory of this machine, and send and take tensors in it.",
    )
    server_name: NonEmptyText = Field(default="sardonyx", description="Name the server gives in ServerMetadata.")
    keepalive_min_ping_interval_s: Seconds = Field(
        default=10.0,
        ge=0,
        le=3600,
        description="A client that pings more often than this is disconnected, with and without calls in flight.",
    )
    allow_admin: Boolean = Field(
        default=False, description="Lets callers change trace and log settings; reading them is always allowed."
    )
    trace_rate: Integer = Field(
        default=0,
        ge=0,
        le=2**31 - 1,
        description="Trace one request in this many of each model; 0 traces none until TraceSetting asks for it.",
    )
    trace_dir: OptionalPath = Field(
        default=None,
        description="Existing folder for the file that traces are written to as JSON lines, 128 MiB at most.",
    )
    trace_otlp_endpoint: OptionalUrl = Field(
        default=None,
        description="Collector that traces are sent to over OTLP/HTTP, such as http://localhost:4318; needs the extra "
        "otel.",
    )
    log_format: Annotated[Literal["auto", "json", "console"], CaseInsensitive] = Field(
        default="auto",
        description="auto: readable lines at a terminal, one JSON object per line in a pipe or under a service "
        "manager.",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], CaseInsensitive] = Field(
        default="info", description="Least severe event that is logged."
    )

    @model_validator(mode="after")
    def _require_agreement(self) -> Self:
        if self.load_model and self.model_control_mode != "explicit":
            raise SettingsError(
                f"load_model is {','.join(self.load_model)!r} but model_control_mode is {self.model_control_mode!r}: "
                "naming models needs model_control_mode 'explicit'"
            )
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
                    "what fills the smaller bound could never be admitted; raise one or lower the other"
                )
        return self
