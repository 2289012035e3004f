"""The verbs and their arguments. Each only gathers what was typed; the verb's own module, imported then, does the work.

Flags of ``serve`` are the fields of ``Settings``; a test keeps the two lists equal.
"""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from sardonyx_server.cli.exits import Exit, ExitWith, meanings
from sardonyx_server.cli.flags import SETTINGS, flag

__all__ = ["app"]

# As help is folded: at the terminal's width, and at 80 in a wider one. The margin is that of an epilog and the edge.
_WIDTH = min(shutil.get_terminal_size().columns, 80) - 4
# \b: each code stays on lines of its own.
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

client = typer.Typer(help="For programs that call a server.", pretty_exceptions_enable=False, rich_markup_mode=None)
app.add_typer(client, name="client")

# By name, because a flag's default is no argument of a call.
_OFF = False
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]
Config = Annotated[
    str | None, typer.Option("--config", metavar="FILE", help="TOML file with settings [variable: SARDONYX_CONFIG].")
]
Providers = Annotated[list[str] | None, flag("providers")]
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
    allow_admin: Annotated[Flag, flag("allow_admin")] = None,
    trace_rate: Annotated[Flag, flag("trace_rate")] = None,
    trace_dir: Annotated[Flag, flag("trace_dir")] = None,
    trace_otlp_endpoint: Annotated[Flag, flag("trace_otlp_endpoint")] = None,
    log_format: Annotated[Flag, flag("log_format")] = None,
    log_level: Annotated[Flag, flag("log_level")] = None,
    config: Config = None,
    show_settings: Annotated[
        bool, typer.Option("--show-settings", help="Print each setting and where it came from, and exit.")
    ] = _OFF,
    json: Json = _OFF,
) -> int:
    """Serve models over gRPC until SIGTERM or Ctrl-C.

    Every flag can also be set by an environment variable (--grpc-port: SARDONYX_GRPC_PORT) or in a TOML file
    (grpc_port = 8001). Flags win over variables, variables over the file.
    """
    # First of all, while the arguments are all there is. Each is called as its setting.
    typed: dict[str, object] = {name: value for name, value in locals().items() if name in SETTINGS}

    from sardonyx_server.cli.serve import run_serve
    from sardonyx_server.cli.sources import load

    typed["model_repository"] = [*(path or []), *(model_repository or [])]
    typed["log_format"] = log_format or ("json" if json and not show_settings else None)
    loaded = load(flags=typed, config=config)
    return run_serve(loaded, show_settings=show_settings, as_json=json)


@app.command(short_help="Ask a running server for one prediction.", epilog=_POINTER)
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
        list[str] | None, typer.Option(metavar="NAME[,NAME]", help="Outputs to ask for; all unless given.")
    ] = None,
    request_id: Annotated[str, typer.Option("--id", metavar="TEXT", help="Id of the request; comes back.")] = "",
    timeout_s: Annotated[float, typer.Option(metavar="SECONDS", min=0.001, help="Longest wait for the answer.")] = 10.0,
    json: Json = _OFF,
) -> int:
    """Ask a running server for one prediction, for example: sardonyx infer iris 'X=[[5.1,3.5,1.4,0.2]]'."""
    from sardonyx_server.cli.infer import Question, run_infer

    names = tuple(name for item in outputs or [] for name in item.split(",") if name)
    question = Question(
        model=model, version=version, arguments=tuple(inputs or []), outputs=names, request_id=request_id
    )
    return run_infer(question, url=url, timeout_s=timeout_s, as_json=json)


@app.command(name="inspect", short_help="Show all about one model.", epilog=_POINTER)
def inspect_(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model, or the path of an .onnx file.")],
    path: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH", help="Where to look for it; models/ unless given.")
    ] = None,
    version: Annotated[int, typer.Option(metavar="NUMBER", min=0, help="Version; 0 is the newest.")] = 0,
    providers: Providers = None,
    json: Json = _OFF,
) -> int:
    """Load one model here and show its signature, its configuration and why, and what batching does to it."""
    from sardonyx_server.cli.inspect_model import run_inspect

    return run_inspect(model, path or [], version=version, providers=providers, as_json=json)


@app.command(short_help="Load and probe every model, for CI.", epilog=_POINTER)
def check(
    path: Annotated[list[Path], typer.Argument(metavar="PATH", help="As for serve.")],
    providers: Providers = None,
    timeout_s: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="Longest time for one model.")] = 300.0,
    json: Json = _OFF,
) -> int:
    """Load and probe every model, each in a process of its own; exit code 3 if any fails. For CI."""
    from sardonyx_server.cli.check import run_check

    return run_check(path, providers=providers, timeout_s=timeout_s, as_json=json)


@app.command(short_help="Put load on a running server and measure latencies.", epilog=_POINTER)
def bench(
    address: Annotated[str, typer.Argument(metavar="HOST:PORT", help="Any server of the protocol.")],
    model: Annotated[str, typer.Option(metavar="NAME", help="Name of the model.")],
    version: Annotated[str, typer.Option(metavar="NUMBER", help="Version of the model; the newest unless given.")] = "",
    rate: Annotated[
        float | None, typer.Option(metavar="R", min=0.001, help="Open loop: so many requests a second.")
    ] = None,
    find_max: Annotated[bool, typer.Option("--find-max", help="Open loop: find the highest rate within the SLO.")] = (
        _OFF
    ),
    concurrency: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Closed loop: so many callers, each waits for its answer.")
    ] = None,
    slo_p99_ms: Annotated[
        float | None, typer.Option(metavar="MS", min=0.001, help="99 % of all requests must be answered within this.")
    ] = None,
    arrivals: Annotated[
        str, typer.Option(metavar="KIND", help="When requests of an open loop are due: poisson, constant or burst.")
    ] = "poisson",
    duration_s: Annotated[
        float, typer.Option("--duration", metavar="SECONDS", min=0.1, help="How long to measure.")
    ] = 10.0,
    warmup_s: Annotated[
        float, typer.Option("--warmup", metavar="SECONDS", min=0, help="The same load before, not counted.")
    ] = 1.0,
    connections: Annotated[int, typer.Option(metavar="N", min=1, help="HTTP/2 connections.")] = 8,
    processes: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Processes that send, at most half of the cores and 4; 0: one for each 10,000/s of --rate.",
        ),
    ] = 0,
    rows: Annotated[int, typer.Option(metavar="N", min=1, help="Rows of each request.")] = 1,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the random data and the arrivals.")] = 0,
    timeout_s: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.001, help="Longest wait for each answer.")
    ] = 10.0,
    compare: Annotated[
        str | None, typer.Option(metavar="HOST2:PORT2", help="A second server, measured in turns: A B B A.")
    ] = None,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Rounds A B B A of a comparison.")] = 3,
    json: Json = _OFF,
) -> int:
    """Send random requests to a running server and show how long its callers would wait.

    Give one of --rate, --find-max and --concurrency. Data are made from the model's signature. Latencies of an open
    loop count from when a request was due, so that a server that stalls cannot hide the requests behind it.
    """
    from sardonyx_server.cli.bench import Wish, run_bench

    wish = Wish(
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
    )
    return run_bench(wish, as_json=json)


@client.command(short_help="Write typed Python for the models of a server.", epilog=_POINTER)
def generate(
    context: typer.Context,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Package to write; made where it is not there.")],
    url: Annotated[
        str, typer.Option(metavar="HOST:PORT", envvar="SARDONYX_URL", help="Where the server listens.")
    ] = "127.0.0.1:8001",
    repository: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Read models from here, without a server; PATH as for serve."),
    ] = None,
    model: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this model; may be repeated.")] = None,
    timeout_s: Annotated[float, typer.Option(metavar="SECONDS", min=0.001, help="Longest wait for an answer.")] = 10.0,
) -> int:
    """Write a Python package with a class for each model: its inputs and outputs as arguments and fields with types.

    The same models give the same files. Names of axes and labels are known only with --repository.
    """
    from sardonyx_server.cli.generate import run_generate

    source = context.get_parameter_source("url")
    if repository and source is not None and source.name == "COMMANDLINE":
        raise ExitWith(Exit.USAGE, "--url and --repository: expected one of them, got both")
    return run_generate(out, url=url, repository=repository or [], models=model or [], timeout_s=timeout_s)


@app.command(short_help="Classify files with magika's model.", epilog=_POINTER)
def demo(
    files: Annotated[list[Path] | None, typer.Argument(metavar="FILE", help="Files to classify.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve on; 0 takes any free one.")] = 0,
    json: Json = _OFF,
) -> int:
    """Serve magika's model, which tells what kind a file is, and classify files with it over gRPC."""
    from sardonyx_server.cli.demo import run_demo

    return run_demo(files or [], port=port, as_json=json)


@app.command(short_help="Versions and execution providers.", epilog=_POINTER)
def version(json: Json = _OFF) -> int:
    """Versions of the server and of what it stands on, and the execution providers of this machine."""
    from sardonyx_server.cli.version import run_version

    return run_version(as_json=json)
