"""The commands and their arguments. Each function only collects arguments; the command's module, imported lazily, runs.

Flags of ``serve`` are the fields of ``Settings``; a test keeps the two lists equal.
"""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from sardonyx_server.cli.client_tls import ClientTls
from sardonyx_server.cli.credentials import TOKEN_VARIABLE, metadata_of
from sardonyx_server.cli.exit_codes import CliError, ExitCode, meanings
from sardonyx_server.cli.flags import SETTINGS, flag

__all__ = ["app"]

# Help is wrapped at the terminal's width, at most 80. 4 is the indentation of an epilog plus the right margin.
_WIDTH = min(shutil.get_terminal_size().columns, 80) - 4
# \b: click keeps these line breaks.
_EXIT_CODES = "\b\nExit codes:\n" + "\n".join(
    textwrap.fill(
        meaning, max(_WIDTH, 20), initial_indent=f"{code:>5}  ", subsequent_indent=" " * 7, break_on_hyphens=False
    )
    for code, meaning in meanings().items()
)
_POINTER = "Exit codes: see 'sardonyx --help'."

app = typer.Typer(
    name="sardonyx",
    help="A gRPC inference server for ONNX models.",
    epilog=_EXIT_CODES,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

client = typer.Typer(
    help="Tools for programs that call a server.", pretty_exceptions_enable=False, rich_markup_mode=None
)
app.add_typer(client, name="client")

# A named constant, because ruff (FBT003) rejects boolean literals as positional arguments.
_OFF = False
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]
Config = Annotated[
    str | None, typer.Option("--config", metavar="FILE", help="TOML file with settings [env var: SARDONYX_CONFIG].")
]
Providers = Annotated[list[str] | None, flag("providers")]
Token = Annotated[
    str,
    typer.Option(
        metavar="TEXT",
        envvar=TOKEN_VARIABLE,
        help="Sent as authorization: Bearer TEXT. Process lists show the flag, but not the variable.",
    ),
]
Header = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="Metadata to send with each call; may be repeated.")
]
Tls = Annotated[bool, typer.Option("--tls", help="Speak TLS; so does any of the options that follow.")]
Ca = Annotated[str, typer.Option(metavar="FILE", help="PEM of the authorities to trust; those of gRPC by default.")]
Certificate = Annotated[
    str, typer.Option(metavar="FILE", help="PEM of a certificate of your own, if the server asks for one.")
]
Key = Annotated[str, typer.Option(metavar="FILE", help="PEM of its key.")]
ServerName = Annotated[
    str, typer.Option(metavar="NAME", help="Name expected in the server's certificate; the address by default.")
]
Flag = str | None
Flags = list[str] | None


@app.command(short_help="Serve models over gRPC.", epilog=_POINTER)
def serve(
    path: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH", help="Model repositories, folders of .onnx files, or single .onnx files."),
    ] = None,
    model_repository: Annotated[Flags, flag("model_repository")] = None,
    host: Annotated[Flag, flag("host")] = None,
    grpc_port: Annotated[Flag, flag("grpc_port")] = None,
    grpc_use_ssl: Annotated[Flag, flag("grpc_use_ssl")] = None,
    grpc_use_ssl_mutual: Annotated[Flag, flag("grpc_use_ssl_mutual")] = None,
    grpc_server_cert: Annotated[Flag, flag("grpc_server_cert")] = None,
    grpc_server_key: Annotated[Flag, flag("grpc_server_key")] = None,
    grpc_root_cert: Annotated[Flag, flag("grpc_root_cert")] = None,
    http_port: Annotated[Flag, flag("http_port")] = None,
    metrics_port: Annotated[Flag, flag("metrics_port")] = None,
    metrics_address: Annotated[Flag, flag("metrics_address")] = None,
    http_names: Annotated[Flags, flag("http_names")] = None,
    model_control_mode: Annotated[Flag, flag("model_control_mode")] = None,
    repository_poll_secs: Annotated[Flag, flag("repository_poll_secs")] = None,
    load_model: Annotated[Flags, flag("load_model")] = None,
    strict_readiness: Annotated[Flag, flag("strict_readiness")] = None,
    exit_on_error: Annotated[Flag, flag("exit_on_error")] = None,
    exit_timeout_secs: Annotated[Flag, flag("exit_timeout_secs")] = None,
    providers: Providers = None,
    provider_cache_dir: Annotated[Flag, flag("provider_cache_dir")] = None,
    transport: Annotated[Flag, flag("transport")] = None,
    cores: Annotated[Flag, flag("cores")] = None,
    max_message_bytes: Annotated[Flag, flag("max_message_bytes")] = None,
    grpc_infer_response_compression_level: Annotated[Flag, flag("grpc_infer_response_compression_level")] = None,
    max_queue_rows_per_model: Annotated[Flag, flag("max_queue_rows_per_model")] = None,
    max_queue_bytes_per_model: Annotated[Flag, flag("max_queue_bytes_per_model")] = None,
    max_queue_bytes: Annotated[Flag, flag("max_queue_bytes")] = None,
    cache_bytes: Annotated[Flag, flag("cache_bytes")] = None,
    probe_budget_s: Annotated[Flag, flag("probe_budget_s")] = None,
    max_batch_rows: Annotated[Flag, flag("max_batch_rows")] = None,
    allow_client_shm: Annotated[Flag, flag("allow_client_shm")] = None,
    server_name: Annotated[Flag, flag("server_name")] = None,
    keepalive_min_ping_interval_s: Annotated[Flag, flag("keepalive_min_ping_interval_s")] = None,
    auth_tokens_file: Annotated[Flag, flag("auth_tokens_file")] = None,
    grpc_restricted_protocol: Annotated[Flags, flag("grpc_restricted_protocol")] = None,
    allow_admin: Annotated[Flag, flag("allow_admin")] = None,
    trace_rate: Annotated[Flag, flag("trace_rate")] = None,
    trace_dir: Annotated[Flag, flag("trace_dir")] = None,
    trace_otlp_endpoint: Annotated[Flag, flag("trace_otlp_endpoint")] = None,
    log_format: Annotated[Flag, flag("log_format")] = None,
    log_level: Annotated[Flag, flag("log_level")] = None,
    config: Config = None,
    show_settings: Annotated[
        bool, typer.Option("--show-settings", help="Print each setting with its source, and exit.")
    ] = _OFF,
    json: Json = _OFF,
) -> int:
    """Serve models over gRPC until SIGTERM or Ctrl-C.

    Every flag can also be set by an environment variable (--grpc-port: SARDONYX_GRPC_PORT) or in a TOML file
    (grpc_port = 8001). Flags win over variables, variables over the file.
    """
    # Must come first, while locals() holds only the arguments. Each is named like its setting.
    typed: dict[str, object] = {name: value for name, value in locals().items() if name in SETTINGS}

    from sardonyx_server.cli.serve import run_serve
    from sardonyx_server.cli.settings_sources import load_settings

    typed["model_repository"] = [*(path or []), *(model_repository or [])]
    typed["log_format"] = log_format or ("json" if json and not show_settings else None)
    loaded = load_settings(flags=typed, config=config)
    return run_serve(loaded, show_settings=show_settings, as_json=json)


@app.command(short_help="Send one inference request to a running server.", epilog=_POINTER)
def infer(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME=VALUE",
            help="JSON, plain text for strings, @file.npy, @file.json, @zeros or @zeros[1,3] for each input.",
        ),
    ] = None,
    url: Annotated[
        str, typer.Option(metavar="HOST:PORT", envvar="SARDONYX_URL", help="Where the server listens.")
    ] = "127.0.0.1:8001",
    version: Annotated[str, typer.Option(metavar="NUMBER", help="Version of the model; the newest unless given.")] = "",
    outputs: Annotated[
        list[str] | None, typer.Option(metavar="NAME[,NAME]", help="Outputs to request; all by default.")
    ] = None,
    request_id: Annotated[str, typer.Option("--id", metavar="TEXT", help="Request id, returned in the response.")] = "",
    timeout_s: Annotated[float, typer.Option(metavar="SECONDS", min=0.001, help="Timeout of the request.")] = 10.0,
    token: Token = "",
    header: Header = None,
    tls: Tls = _OFF,
    ca: Ca = "",
    certificate: Certificate = "",
    key: Key = "",
    server_name: ServerName = "",
    json: Json = _OFF,
) -> int:
    """Send one inference request to a running server, for example: sardonyx infer iris 'X=[[5.1,3.5,1.4,0.2]]'."""
    from sardonyx_server.cli.infer import InferOptions, run_infer

    names = tuple(name for item in outputs or [] for name in item.split(",") if name)
    options = InferOptions(
        model=model, version=version, arguments=tuple(inputs or []), outputs=names, request_id=request_id
    )
    metadata = metadata_of(token, header or [])
    client_tls = ClientTls(tls=tls, ca=ca, certificate=certificate, key=key, server_name=server_name)
    return run_infer(options, url=url, timeout_s=timeout_s, metadata=metadata, tls=client_tls, as_json=json)


@app.command(name="inspect", short_help="Show everything about one model.", epilog=_POINTER)
def inspect_(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model, or the path of an .onnx file.")],
    path: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH", help="Where to look for it; models/ by default.")
    ] = None,
    version: Annotated[int, typer.Option(metavar="NUMBER", min=0, help="Version; 0 = the newest.")] = 0,
    providers: Providers = None,
    json: Json = _OFF,
) -> int:
    """Load one model here and show its signature, its configuration with reasons, and whether batching pays."""
    from sardonyx_server.cli.inspect_model import run_inspect

    return run_inspect(model, path or [], version=version, providers=providers, as_json=json)


@app.command(short_help="Load and probe every model, for CI.", epilog=_POINTER)
def check(
    path: Annotated[list[Path], typer.Argument(metavar="PATH", help="As for serve.")],
    providers: Providers = None,
    timeout_s: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="Time limit for one model.")] = 300.0,
    json: Json = _OFF,
) -> int:
    """Load and probe every model, each in its own process; exit code 3 if any fails. For CI."""
    from sardonyx_server.cli.check import run_check

    return run_check(path, providers=providers, timeout_s=timeout_s, as_json=json)


@app.command(short_help="Load-test a running server and measure latencies.", epilog=_POINTER)
def bench(
    address: Annotated[
        str, typer.Argument(metavar="HOST:PORT", help="Any server of the Open Inference Protocol over gRPC.")
    ],
    model: Annotated[str, typer.Option(metavar="NAME", help="Name of the model.")],
    version: Annotated[str, typer.Option(metavar="NUMBER", help="Version of the model; the newest unless given.")] = "",
    rate: Annotated[
        float | None, typer.Option(metavar="R", min=0.001, help="Open loop: this many requests per second.")
    ] = None,
    find_max: Annotated[bool, typer.Option("--find-max", help="Open loop: find the highest rate within the SLO.")] = (
        _OFF
    ),
    concurrency: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Closed loop: this many callers, each waiting for its answer."),
    ] = None,
    slo_p99_ms: Annotated[
        float | None,
        typer.Option(metavar="MS", min=0.001, help="SLO: 99 % of all requests must be answered within this time."),
    ] = None,
    arrivals: Annotated[
        str, typer.Option(metavar="KIND", help="Arrivals of an open loop: poisson, constant or burst.")
    ] = "poisson",
    duration_s: Annotated[
        float, typer.Option("--duration", metavar="SECONDS", min=0.1, help="How long to measure.")
    ] = 10.0,
    warmup_s: Annotated[
        float,
        typer.Option(
            "--warmup", metavar="SECONDS", min=0, help="Duration of a warm-up with the same load, not counted."
        ),
    ] = 1.0,
    connections: Annotated[int, typer.Option(metavar="N", min=1, help="HTTP/2 connections.")] = 8,
    processes: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Sending processes; 0: one for each 10,000/s of --rate, at most 4 and half of the cores.",
        ),
    ] = 0,
    rows: Annotated[int, typer.Option(metavar="N", min=1, help="Rows per request.")] = 1,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the random data and arrivals.")] = 0,
    timeout_s: Annotated[float, typer.Option(metavar="SECONDS", min=0.001, help="Timeout of each request.")] = 10.0,
    compare: Annotated[
        str | None,
        typer.Option(metavar="HOST2:PORT2", help="Compare with a second server, in alternating runs A B B A."),
    ] = None,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Number of rounds A B B A of a comparison.")] = 3,
    token: Token = "",
    header: Header = None,
    json: Json = _OFF,
) -> int:
    """Send random requests to a running server and report the latencies that its callers would see.

    Give one of --rate, --find-max and --concurrency. The data are made from the model's signature. In an open loop a
    latency is measured from when the request was due, so that a stalling server cannot hide the requests behind it.
    """
    from sardonyx_server.cli.bench import BenchOptions, run_bench

    options = BenchOptions(
        address=address,
        model=model,
        version=version,
        rate=rate,
        find_max=find_max,
        concurrency=concurrency,
        slo_s=None if slo_p99_ms is None else slo_p99_ms / 1e3,
        arrivals=arrivals,
        duration_s=duration_s,
        warmup_s=warmup_s,
        connections=connections,
        processes=processes,
        rows=rows,
        seed=seed,
        timeout_s=timeout_s,
        compare=compare,
        rounds=rounds,
        metadata=metadata_of(token, header or []),
    )
    return run_bench(options, as_json=json)


@client.command(short_help="Generate a typed Python client for the models of a server.", epilog=_POINTER)
def generate(
    context: typer.Context,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of the package to write; created if missing.")],
    url: Annotated[
        str, typer.Option(metavar="HOST:PORT", envvar="SARDONYX_URL", help="Where the server listens.")
    ] = "127.0.0.1:8001",
    repository: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Read models from disk instead of a server; PATH as for serve."),
    ] = None,
    model: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this model; may be repeated.")] = None,
    timeout_s: Annotated[float, typer.Option(metavar="SECONDS", min=0.001, help="Timeout of each request.")] = 10.0,
    token: Token = "",
    header: Header = None,
    tls: Tls = _OFF,
    ca: Ca = "",
    certificate: Certificate = "",
    key: Key = "",
    server_name: ServerName = "",
) -> int:
    """Write a Python package with one class per model, whose arguments and fields are the typed inputs and outputs.

    The same models give the same files. Axis names and labels are known only with --repository.
    """
    from sardonyx_server.cli.generate import run_generate

    source = context.get_parameter_source("url")
    if repository and source is not None and source.name == "COMMANDLINE":
        raise CliError(ExitCode.USAGE, "--url and --repository: expected one of them, got both")
    return run_generate(
        out,
        url=url,
        repository=repository or [],
        models=model or [],
        timeout_s=timeout_s,
        metadata=metadata_of(token, header or []),
        tls=ClientTls(tls=tls, ca=ca, certificate=certificate, key=key, server_name=server_name),
    )


@app.command(short_help="Classify files with magika's model.", epilog=_POINTER)
def demo(
    files: Annotated[list[Path] | None, typer.Argument(metavar="FILE", help="Files to classify.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve on; 0 = any free one.")] = 0,
    json: Json = _OFF,
) -> int:
    """Serve magika's model, which detects file types, and classify files with it over gRPC."""
    from sardonyx_server.cli.demo import run_demo

    return run_demo(files or [], port=port, as_json=json)


@app.command(short_help="Show versions and execution providers.", epilog=_POINTER)
def version(json: Json = _OFF) -> int:
    """Show the versions of the server and its dependencies, and the execution providers of this machine."""
    from sardonyx_server.cli.version import run_version

    return run_version(as_json=json)
