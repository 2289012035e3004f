"""Metrics as Prometheus scrapes them, over HTTP from a server that answers requests."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Final
from urllib.request import urlopen

import grpc
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.bad_requests import BAD_REQUESTS
from tests.e2e.bad_streams import STREAM
from tests.e2e.messages import encoded, gate_request, infer_request
from tests.e2e.models import Folder, repository, write
from tests.e2e.servers import CALL_TIMEOUT_S, TRANSPORTS, Server, eventually
from tests.server.rpc.conversations import Conversation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.e2e.bad_request import BadRequest

_SERIES: Final = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*(?:\{.*\})?) (\S+)$", re.MULTILINE)
# What promtool has against names that are Triton's, not ours to choose.
_NO_TOTAL: Final = 'counter metrics should have "_total" suffix'
_A_COUNT: Final = 'non-histogram and non-summary metrics should not have "_count" suffix'
_ABBREVIATED: Final = "metric names should not contain abbreviated units"
_OBJECTIONS: Final = {
    "nv_cache_hit_duration_per_model": {_NO_TOTAL},
    "nv_cache_miss_duration_per_model": {_NO_TOTAL},
    "nv_cache_num_hits_per_model": {_NO_TOTAL},
    "nv_cache_num_misses_per_model": {_NO_TOTAL},
    "nv_inference_compute_infer_duration_us": {_NO_TOTAL, _ABBREVIATED},
    "nv_inference_compute_input_duration_us": {_NO_TOTAL, _ABBREVIATED},
    "nv_inference_compute_output_duration_us": {_NO_TOTAL, _ABBREVIATED},
    "nv_inference_count": {_NO_TOTAL, _A_COUNT},
    "nv_inference_exec_count": {_NO_TOTAL, _A_COUNT},
    "nv_inference_pending_request_count": {_A_COUNT},
    "nv_inference_queue_duration_us": {_NO_TOTAL, _ABBREVIATED},
    "nv_inference_request_duration_us": {_NO_TOTAL, _ABBREVIATED},
    "nv_inference_request_failure": {_NO_TOTAL},
    "nv_inference_request_success": {_NO_TOTAL},
}


@pytest.fixture(scope="module", params=TRANSPORTS)
def measured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with metrics; one of its models has a response cache."""
    affine = next(folder for folder in repository() if folder.name == "affine")
    cached = Folder(name="cached", data=affine.data, config="max_batch_size: 8\nresponse_cache { enable: true }")
    path = write([*repository(), cached], tmp_path_factory.mktemp("measured"))
    with Server(path, request.param, metrics_port=0) as running:
        yield running


def page(server: Server) -> str:
    """What one scrape reads."""
    with urlopen(server.app.metrics_url, timeout=CALL_TIMEOUT_S) as answer:  # noqa: S310  # our own server
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        text: bytes = answer.read()
    return text.decode()


def scrape(server: Server) -> Mapping[str, float]:
    """Series -> value."""
    return {series: float(value) for series, value in _SERIES.findall(page(server))}


def grown(before: Mapping[str, float], after: Mapping[str, float], start: str) -> dict[str, float]:
    """Series that begin so and have changed, by how much."""
    return {
        series: value - before[series]
        for series, value in after.items()
        if series.startswith(start) and value != before[series]
    }


def of(name: str, model: str = "affine", version: int = 3, **labels: str) -> str:
    """One series of a version."""
    labels |= {"model": model, "version": str(version)}
    return name + "{" + ",".join(f'{key}="{value}"' for key, value in sorted(labels.items())) + "}"


def test_a_batch_of_8_is_one_request_one_execution_and_8_inferences(measured: Server) -> None:
    """Triton's own example."""
    before = scrape(measured)
    measured.infer(infer_request("affine", x=np.ones((8, 4), np.float32)))
    measured.settle()
    after = scrape(measured)
    assert grown(before, after, "nv_inference_request_success") == {of("nv_inference_request_success"): 1}
    assert grown(before, after, "nv_inference_count") == {of("nv_inference_count"): 8}
    assert grown(before, after, "nv_inference_exec_count") == {of("nv_inference_exec_count"): 1}
    assert grown(before, after, "nv_inference_request_failure") == {}
    assert grown(before, after, "sardonyx_batch_rows_count") == {of("sardonyx_batch_rows_count"): 1}
    assert grown(before, after, "sardonyx_batch_rows_bucket")[of("sardonyx_batch_rows_bucket", le="8")] == 1
    assert of("sardonyx_batch_rows_bucket", le="4") not in grown(before, after, "sardonyx_batch_rows_bucket")
    for name in ("request", "queue", "compute"):
        (count,) = grown(before, after, f"sardonyx_{name}_duration_seconds_count").values()
        assert count == 1
    assert after[of("nv_inference_request_duration_us")] >= after[of("nv_inference_compute_infer_duration_us")]


def test_failures_are_counted_by_reason(measured: Server) -> None:
    """A run that raises is of the backend; a wrong shape is refused; an unknown name belongs to no model."""
    before = scrape(measured)
    measured.refusal(gate_request(index=99))
    measured.refusal(infer_request("affine", x=np.ones((1, 5), np.float32)))
    measured.refusal(infer_request("nobody", x=np.ones((1, 4), np.float32)))
    measured.settle()
    after = scrape(measured)
    failure = "nv_inference_request_failure"
    assert grown(before, after, failure) == {
        of(failure, "gate", 1, reason="BACKEND"): 1,
        of(failure, reason="OTHER"): 1,
    }
    assert grown(before, after, "sardonyx_rejections_total") == {
        of("sardonyx_rejections_total", reason="bad_request"): 1
    }
    assert grown(before, after, "sardonyx_refusals_total") == {'sardonyx_refusals_total{reason="not_found"}': 1}


def test_a_request_that_waits_is_pending(measured: Server) -> None:
    """And the calls are open."""
    with measured.holding(gate_request()):
        waiting = measured.start_infer(gate_request())
        pending = of("nv_inference_pending_request_count", "gate", 1)
        eventually(lambda: scrape(measured)[pending] == 1, "the second request waits")
        assert scrape(measured)['sardonyx_open_calls{rpc="ModelInfer"}'] == 2
    waiting.result()
    measured.settle()
    assert scrape(measured)[pending] == 0
    assert scrape(measured)['sardonyx_open_calls{rpc="ModelInfer"}'] == 0


def test_open_streams_are_shown_apart_from_calls(measured: Server) -> None:
    """An idle one too."""
    stream = Conversation(measured.channel, STREAM)
    eventually(lambda: scrape(measured)['sardonyx_open_calls{rpc="ModelStreamInfer"}'] == 1, "the stream is open")
    assert scrape(measured)['sardonyx_open_calls{rpc="ModelInfer"}'] == 0
    stream.half_close()
    assert stream.rest() == []
    measured.settle()
    assert scrape(measured)['sardonyx_open_calls{rpc="ModelStreamInfer"}'] == 0


def test_nothing_that_a_caller_sends_makes_a_series(measured: Server) -> None:
    """Every bad request there is: names, versions, identities, parameters of any content."""
    before = set(scrape(measured))
    for row in BAD_REQUESTS:
        # On a stream a bad request is answered in a message; what is allowed here is none.
        with contextlib.suppress(grpc.RpcError):
            _send(measured, row)
    measured.infer(infer_request("affine", request_id="id-of-mine", parameters={"mine": "x"}, x=np.ones((1, 4), "f4")))
    measured.settle()
    assert set(scrape(measured)) == before


def test_the_transport_is_shown(measured: Server) -> None:
    """And the lag of the lane, where there is one."""
    series = scrape(measured)
    assert series[f'sardonyx_transport_info{{transport="{measured.transport}"}}'] == 1
    assert ("sardonyx_lane_lag_seconds_count" in series) == (measured.transport == "lane")


def test_promtool_objects_to_names_of_triton_only(measured: Server) -> None:
    """Of our own metrics there is nothing to say, nor of the format."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian's package prometheus has it)")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=page(measured), capture_output=True, text=True, timeout=60, check=False
    )
    objections: dict[str, set[str]] = {}
    for line in (done.stdout + done.stderr).splitlines():
        name, _, objection = line.partition(" ")
        objections.setdefault(name, set()).add(objection)
    assert objections == _OBJECTIONS


def test_the_page_is_read_by_the_parser_of_prometheus(measured: Server) -> None:
    """Each family once, with help and type."""
    families = list(text_string_to_metric_families(page(measured)))
    assert len({family.name for family in families}) == len(families)
    assert all(family.documentation and family.type != "unknown" for family in families)
    assert {"process_cpu_seconds", "process_resident_memory_bytes"} <= {family.name for family in families}


def _send(server: Server, row: BadRequest) -> None:
    """Send a row of the table; raises as grpc does."""
    if row.streams:
        options = {"timeout": CALL_TIMEOUT_S, **row.options}
        for _ in server.channel.stream_stream(row.path)(iter([encoded(row.make())]), **options):
            pass
    else:
        server.raw(row.path, row.make(), **row.options)
