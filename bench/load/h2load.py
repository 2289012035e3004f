"""Load by h2load, the HTTP/2 load generator of nghttp2: its command line and its report.

It knows no gRPC beyond the headers and the message prefix; it can send plain HTTP/1.1 instead.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench.load.result import LoadResult, Streams
from sardonyx_server.load.latencies import Latencies
from sardonyx_server.load.loops import LoadGeneratorError, Target

__all__ = ["H2Load", "parse"]

# gRPC puts five bytes before a message: whether it is compressed, and its length.
_FRAME_BYTES: Final = 5
_SILENCE_TIMEOUT_S: Final = 30
_HEADERS: Final = ("content-type: application/grpc", "te: trailers")
_PLAIN_HEADERS: Final = ("content-type: application/octet-stream",)

_FINISHED: Final = re.compile(r"^finished in ([\d.]+)(us|ms|s|m)\b", re.MULTILINE)
_REQUESTS: Final = re.compile(
    r"^requests: \d+ total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed", re.MULTILINE
)
_DATA: Final = re.compile(r"^traffic: .* \((\d+)\) data$", re.MULTILINE)
_LATENCY: Final = re.compile(r"^time for request: +\S+ +\S+ +([\d.]+)(us|ms|s|m)\b", re.MULTILINE)
_SECONDS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_NS_PER_US: Final = 1000


class H2Load:
    """h2load as installed.

    Args:
        program: Path of the program.
    """

    def __init__(self, program: str) -> None:
        self._program = program
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)  # noqa: S603  # found on PATH
        self.name = version.stdout.strip()

    @classmethod
    def installed(cls) -> H2Load | None:
        """None if it is not on the PATH."""
        program = shutil.which("h2load")
        return None if program is None else cls(program)

    def run(self, target: Target, streams: Streams, *, requests: int, record_each: bool) -> LoadResult:
        """Send requests. See :class:`~bench.load.result.Generator`."""
        with tempfile.TemporaryDirectory() as folder:
            body, log = Path(folder, "body"), Path(folder, "log")
            (message,), answer_bytes = target.messages, target.answer_bytes
            if answer_bytes is None:
                raise ValueError("h2load knows a good answer by its length, which this target does not say (a bug)")
            frame = b"" if streams.http1 else b"\0" + len(message).to_bytes(4, "big")
            body.write_bytes(frame + message)
            command = [self._program, f"-n{requests}", f"-c{streams.connections}", f"-m{streams.streams}", f"-d{body}"]
            headers = _PLAIN_HEADERS if streams.http1 else _HEADERS
            command += [f"-N{_SILENCE_TIMEOUT_S}", *(f"-H{header}" for header in headers)]
            command += ["--h1"] if streams.http1 else []
            command += [f"--log-file={log}"] if record_each else []
            report, cpu_s = _run([*command, f"http://{target.address}{target.method}"])
            result = parse(report, cpu_s=cpu_s, requests=requests, answer_bytes=answer_bytes, frame_bytes=len(frame))
            return _with_percentiles(result, log) if record_each else result


def parse(
    report: str, *, cpu_s: float, requests: int, answer_bytes: int, frame_bytes: int = _FRAME_BYTES
) -> LoadResult:
    """Read a report.

    h2load does not know gRPC: a call that ends with an error status counts as a success for it. But such an answer has
    no message, so the bytes of data tell.

    Args:
        report: Output of h2load.
        cpu_s: CPU seconds it took.
        requests: Number of requests it was told to send.
        answer_bytes: Length of each answer.
        frame_bytes: Bytes of the prefix before each.

    Raises:
        LoadGeneratorError: Not every request was answered with a message of this length, or the report cannot be read.
    """
    finished, counts = _FINISHED.search(report), _REQUESTS.search(report)
    data, latency = _DATA.search(report), _LATENCY.search(report)
    if finished is None or counts is None or data is None or latency is None:
        raise LoadGeneratorError(f"the report of h2load cannot be read:\n{report}")
    if int(counts[1]) != requests:
        raise LoadGeneratorError(f"{counts[2]} of {requests} requests failed")
    expected = requests * (answer_bytes + frame_bytes)
    if int(data[1]) != expected:
        raise LoadGeneratorError(
            f"answers of {answer_bytes} bytes to {requests} requests are {expected} bytes of data with their frames, "
            f"got {data[1]}: calls ended with an error status, or with another answer"
        )
    return LoadResult(requests=requests, seconds=_seconds(finished), cpu_s=cpu_s, mean_s=_seconds(latency))


def _run(command: list[str]) -> tuple[str, float]:
    """Run a command to its end: what it printed, and its CPU seconds."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:  # noqa: S603  # h2load
        report = process.stdout.read() if process.stdout is not None else ""
        # Popen gives no CPU time of a single child; once waited for here, it only needs to know the status.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise LoadGeneratorError(f"h2load ended with status {process.returncode}:\n{report}")
    return report, usage.ru_utime + usage.ru_stime


def _with_percentiles(result: LoadResult, log: Path) -> LoadResult:
    """Columns of the log: start, HTTP status, microseconds."""
    counts = Counter(int(line.split("\t")[2]) * _NS_PER_US for line in log.read_text().splitlines())
    latencies = Latencies(
        counts, sum_ns=sum(ns * number for ns, number in counts.items()), max_ns=max(counts, default=0)
    )
    return replace(
        result,
        mean_s=latencies.mean_s,
        median_s=latencies.percentile_s(50),
        p99_s=latencies.percentile_s(99),
        histogram=latencies.encode(),
    )


def _seconds(found: re.Match[str]) -> float:
    return float(found[1]) * _SECONDS[found[2]]
