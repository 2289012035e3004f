"""The page of metrics and the dashboard, against a server that has answered requests."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Final
from urllib.request import urlopen

import numpy as np
import pytest
from docs.grafana import dashboard

from sardonyx_client import Client, ClientError
from sardonyx_server.app import App
from sardonyx_server.settings import Settings
from tests.docs.documents import ROOT, blocks, code_spans
from tests.docs.promql import metric_names, with_values

if TYPE_CHECKING:
    from pathlib import Path

PAGE: Final = ROOT / "docs/metrics.md"
DASHBOARD: Final = json.loads((ROOT / "docs/grafana-dashboard.json").read_text("utf-8"))


def panels() -> list[dict[str, Any]]:
    """Those that show something: not the titles of rows."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> dict[str, str]:
    """Where it stands -> each query of the dashboard and of the page."""
    found = {
        f"panel {panel['title']!r} {target['refId']}": target["expr"]
        for panel in panels()
        for target in panel["targets"]
    }
    (alerts,) = blocks(PAGE, "promql")
    for query in re.sub(r"#[^\n]*\n", "", alerts.text).splitlines():
        found[f"alert {len(found)}"] = query
    return found


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The metrics after some traffic; one of the models has a response cache."""
    repository = tmp_path_factory.mktemp("repository")
    for name, config in (("iris", ""), ("cached", "response_cache { enable: true }")):
        shutil.copytree(ROOT / "models/iris/1", repository / name / "1")
        (repository / name / "config.pbtxt").write_text(config)
    app = App(
        Settings(model_repository=(repository,), grpc_port=0, metrics_port=0, probe_budget_s=0.0, transport="lane")
    )
    app.start()
    try:
        with Client(app.address, timeout_s=60) as client:
            for name in ("iris", "cached", "iris", "cached"):
                client.infer(name, X=np.ones((2, 4), np.float32))
            for name, width in (("nobody", 4), ("iris", 5)):
                with pytest.raises(ClientError):
                    client.infer(name, X=np.ones((2, width), np.float32))
        with urlopen(app.metrics_url, timeout=60) as answer:  # noqa: S310  # our own server
            text: bytes = answer.read()
    finally:
        app.drain_and_stop(5.0)
    return text.decode()


def series(text: str) -> set[str]:
    """Names of series."""
    return set(re.findall(r"^([a-zA-Z_:][\w:]*)(?=[ {])", text, re.MULTILINE))


def families(text: str) -> set[str]:
    """Names of metrics, as their types are announced."""
    return set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("a", {"a"}),
        ('rate(a_total{model=~"$model",b="c d"}[$__rate_interval])', {"a_total"}),
        ("sum by (le, model) (rate(a_bucket[5m])) / ignoring (x) b:c", {"a_bucket", "b:c"}),
        ("histogram_quantile(0.99, sum (a) without (b)) > 1e3 and d offset 5m", {"a", "d"}),
        ("a * on (i) group_left (t) b", {"a", "b"}),
    ],
)
def test_names_are_found_in_queries(query: str, names: set[str]) -> None:
    """Functions, labels, numbers and durations are none."""
    assert metric_names(query) == names


@pytest.mark.parametrize("place", queries())
def test_every_query_reads_metrics_that_exist(scraped: str, place: str) -> None:
    """On a server that has seen some traffic."""
    names = metric_names(with_values(queries()[place]))
    assert names
    assert names <= series(scraped)


def test_every_label_of_a_query_exists(scraped: str) -> None:
    """Prometheus itself adds instance; le belongs to buckets."""
    known = set(re.findall(r'[{,](\w+)="', scraped)) | {"instance"}
    for place, query in queries().items():
        lists = re.findall(r"\b(?:by|on|group_left)\s*\(([^()]*)\)", query)
        used = {label.strip() for labels in lists for label in labels.split(",")} - {""}
        used |= set(re.findall(r"[{,]\s*(\w+)\s*=~?", query))
        assert used <= known, place


def test_every_query_is_promql(tmp_path: Path) -> None:
    """As Prometheus's own tool reads it, in a file of rules."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian's package prometheus has it)")
    rules = [{"record": f"q{number}", "expr": with_values(query)} for number, query in enumerate(queries().values())]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_the_dashboard_is_current() -> None:
    """Made anew with: python -m docs.grafana.dashboard."""
    assert dashboard.FILE.read_text("utf-8") == dashboard.text()


def test_the_dashboard_can_be_imported_anywhere() -> None:
    """It names no data source and no server: both are chosen at its top."""
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables.keys() == {"datasource", "instance", "model"}
    assert DASHBOARD["uid"] == "sardonyx"
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_panels_do_not_overlap() -> None:
    """Each cell of the grid belongs to one."""
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_the_page_lists_every_metric(scraped: str) -> None:
    """No more, and no less."""
    listed = set(re.findall(r"^\| `(\w+)`", PAGE.read_text("utf-8"), re.MULTILINE))
    assert listed == families(scraped)


def test_what_the_page_says_of_triton_is_not_ours(scraped: str) -> None:
    """Metrics that are named as missing are missing; others that are named exist."""
    text = PAGE.read_text("utf-8")
    missing = text.partition("What Triton has and this server does not:")[2].partition("\n\n")[0]
    for pattern in code_spans(missing):
        assert not [name for name in series(scraped) if re.fullmatch(pattern.replace("*", ".*"), name)]
    for name in code_spans(text.replace(missing, "")):
        if name.startswith(("nv_", "sardonyx_", "process_")):
            assert name.removesuffix("_bucket") in families(scraped)
