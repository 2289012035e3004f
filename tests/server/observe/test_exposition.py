"""The text format, held against Prometheus's own parser where its Python client has one."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Metric
from prometheus_client.parser import text_string_to_metric_families

from sardonyx_server.observe.exposition import text


def metric(name: str, kind: str, *samples: tuple[dict[str, str], float], help: str = "Help") -> Metric:  # noqa: A002  # its name there
    """A family whose samples have its name."""
    family = Metric(name, help, kind)
    for labels, value in samples:
        family.add_sample(name, labels, value)
    return family


def test_a_counter_keeps_its_name() -> None:
    """Triton's have no ending."""
    family = metric("nv_inference_count", "counter", ({"model": "m", "version": "1"}, 3))
    assert text([family]).decode() == (
        "# HELP nv_inference_count Help\n"
        "# TYPE nv_inference_count counter\n"
        'nv_inference_count{model="m",version="1"} 3\n'
    )


def test_a_counter_of_the_library_keeps_its_ending() -> None:
    """The library keeps the ending in the samples only."""
    registry = CollectorRegistry()
    Counter("cpu_seconds_total", "CPU", registry=registry).inc(2)
    assert text(registry.collect()).startswith(
        b"# HELP cpu_seconds_total CPU\n# TYPE cpu_seconds_total counter\ncpu_seconds_total 2.0\n"
    )


def test_labels_come_by_name() -> None:
    """As Triton writes them."""
    family = metric("a", "gauge", ({"version": "1", "reason": "OTHER", "model": "m"}, 1))
    assert b'a{model="m",reason="OTHER",version="1"} 1\n' in text([family])


def test_a_family_without_samples_is_left_out() -> None:
    """A server without models has nothing to say about them."""
    assert text([metric("a", "gauge")]) == b""


def test_a_parser_reads_back_what_was_written() -> None:
    """Quotes, backslashes, line breaks and letters beyond ASCII in labels and in help; small and large numbers."""
    label = 'a "model"\\name\nof two lines, naïve'
    samples = [({"model": label}, value) for value in (0, 1e-9, 0.1, 12345678901234567, 1.5e300)]
    family = metric("a", "gauge", *samples, help='Line\nand \\ and "')
    (read,) = text_string_to_metric_families(text([family]).decode())
    assert [(sample.labels["model"], sample.value) for sample in read.samples] == [
        (label, value) for _, value in samples
    ]
    assert read.documentation == 'Line\nand \\ and "'
    assert read.type == "gauge"
