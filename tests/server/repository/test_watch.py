"""Changes are reported once they hold still, by polling and by events, and a watch can always be ended."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from sardonyx_server.repository.scan import scan
from sardonyx_server.repository.spec import BrokenModel, ModelSpec
from sardonyx_server.repository.watch import ChangeDebouncer, RepositoryWatcher
from sardonyx_wire.messages import ModelConfig
from tests.server.repository.onnx_models import linear, put_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Only so that a broken test ends; nothing waits that long when it works.
GIVE_UP_S = 30.0

Models = dict[str, ModelSpec | BrokenModel]


def _model(name: str, fingerprint: str) -> ModelSpec:
    return ModelSpec(
        name=name,
        folder=Path(name),
        versions=(1,),
        files={1: Path(name) / "1/model.onnx"},
        config=ModelConfig(name=name),
        declines_batching=False,
        labels={},
        fingerprint=fingerprint,
        version_fingerprints={1: fingerprint},
        warnings=(),
    )


def _models(**fingerprints: str) -> Models:
    return {name: _model(name, fingerprint) for name, fingerprint in fingerprints.items()}


def _broken(name: str, fingerprint: str) -> BrokenModel:
    return BrokenModel(name=name, folder=Path(name), reason="broken", fingerprint=fingerprint)


def test_a_model_that_breaks_has_changed() -> None:
    """Even where its files look the same."""
    debouncer = ChangeDebouncer(_models(a="1"), stable_s=0.0)
    broken: Models = {"a": _broken("a", "1")}
    assert not debouncer.update(broken, 0.0)
    assert debouncer.update(broken, 0.0)
    assert debouncer.known == broken


def test_a_change_is_reported_when_it_was_seen_twice() -> None:
    """And once only; the scan it is taken from is the last one."""
    debouncer = ChangeDebouncer(_models(a="1"), stable_s=2.0)
    assert debouncer.due_in_s(0.0) is None
    assert not debouncer.update(_models(a="2"), 0.0)
    assert debouncer.due_in_s(0.5) == 1.5
    assert not debouncer.update(_models(a="2"), 1.9)
    assert debouncer.update(_models(a="2"), 2.0)
    assert debouncer.known == _models(a="2")
    assert debouncer.due_in_s(2.0) is None
    assert not debouncer.update(_models(a="2"), 9.0)


def test_a_model_that_goes_on_changing_is_not_reported() -> None:
    """A file that is being written for an hour is left alone for an hour; the others are not."""
    debouncer = ChangeDebouncer({}, stable_s=1.0)
    for second in range(3600):
        assert debouncer.update(_models(slow=str(second), fast="1"), float(second)) == (second == 1)
        assert "slow" not in debouncer.known
    assert debouncer.update(_models(slow="3599", fast="1"), 3600.0)
    assert debouncer.known == _models(slow="3599", fast="1")


def test_a_change_that_is_taken_back_is_none() -> None:
    """Also where it comes again: its time starts anew."""
    debouncer = ChangeDebouncer(_models(a="1"), stable_s=2.0)
    debouncer.update(_models(a="2"), 0.0)
    assert not debouncer.update(_models(a="1"), 1.0)
    assert not debouncer.update(_models(a="2"), 2.0)
    assert not debouncer.update(_models(a="2"), 3.0)
    assert debouncer.update(_models(a="2"), 4.0)


def test_a_model_that_is_replaced_is_not_removed() -> None:
    """Between the old folder's end and the new one's arrival lies less than stable_s."""
    debouncer = ChangeDebouncer(_models(a="1"), stable_s=2.0)
    assert not debouncer.update({}, 0.0)
    assert not debouncer.update(_models(a="2"), 1.0)
    assert debouncer.update(_models(a="2"), 3.0)
    assert debouncer.known == _models(a="2")


def test_a_removal_settles_as_well() -> None:
    """A model that is away at two scans is gone."""
    debouncer = ChangeDebouncer(_models(a="1", b="1"), stable_s=2.0)
    debouncer.update(_models(b="1"), 0.0)
    assert debouncer.update(_models(b="1"), 2.0)
    assert debouncer.known == _models(b="1")


@given(
    scans=st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from("abc"), st.sampled_from("123"), max_size=3),
            st.sampled_from([0.0, 0.5, 1.0, 3.0]),
        ),
        max_size=20,
    )
)
def test_what_is_known_changes_only_where_that_is_told(scans: list[tuple[dict[str, str], float]]) -> None:
    """And what holds still in the end is known in the end."""
    debouncer = ChangeDebouncer({}, stable_s=1.0)
    now_s = 0.0
    for found, step_s in [*scans, ({"a": "9"}, 1.0), ({"a": "9"}, 1.0)]:
        now_s += step_s
        before = debouncer.known
        assert debouncer.update(_models(**found), now_s) == (debouncer.known != before)
        assert debouncer.due_in_s(now_s) is None or 0.0 <= (debouncer.due_in_s(now_s) or 0.0) <= 1.0
    assert debouncer.known == _models(a="9")


@dataclass
class Disk:
    """A disk whose scans are scripted; the last one stays. Time is the number of the scan."""

    scans: Sequence[Models]
    taken: int = 0
    seen: list[Models] = field(default_factory=list)
    watch: RepositoryWatcher | None = None

    def look(self, paths: Sequence[Path]) -> Models:
        """The next scan; a few after the last one end the watch."""
        self.taken += 1
        if self.taken > len(self.scans) + 3:
            assert self.watch is not None
            self.watch.stop()
        elif self.watch is not None:
            self.watch.poll_now()
        return self.scans[min(self.taken, len(self.scans)) - 1]

    def clock(self) -> float:
        """Seconds: one for each scan."""
        return float(self.taken)

    def on_change(self, known: Mapping[str, ModelSpec | BrokenModel]) -> None:
        """Keep a report."""
        self.seen.append(dict(known))


def test_run_reports_all_models_when_some_have_changed(tmp_path: Path) -> None:
    """The observer gets the models as they are now, on the thread that runs."""
    disk = Disk([_models(a="1"), _models(a="2"), _models(a="2", b="1"), _models(a="2", b="1")])
    disk.watch = RepositoryWatcher(
        [tmp_path], poll_interval_s=3600.0, stable_s=1.0, polling=True, look=disk.look, clock=disk.clock
    )
    disk.watch.poll_now()
    disk.watch.run(_models(a="1"), disk.on_change)
    assert disk.seen == [_models(a="2"), _models(a="2", b="1")]


def test_a_watch_that_was_stopped_looks_at_nothing(tmp_path: Path) -> None:
    """Stop may come first, and more than once."""
    disk = Disk([_models(a="1")])
    watch = RepositoryWatcher([tmp_path], poll_interval_s=3600.0, polling=True, look=disk.look)
    watch.stop()
    watch.stop()
    watch.run({}, disk.on_change)
    assert disk.taken == 0


def test_stop_ends_a_wait(tmp_path: Path) -> None:
    """A watch that would scan in an hour ends at once, with its thread of events."""
    before = set(threading.enumerate())
    watch = RepositoryWatcher([tmp_path], poll_interval_s=3600.0)
    thread = threading.Thread(target=watch.run, args=({}, lambda *_: None))
    thread.start()
    watch.stop()
    thread.join(GIVE_UP_S)
    assert not thread.is_alive()
    assert set(threading.enumerate()) <= before


def test_polling_alone_says_why(tmp_path: Path) -> None:
    """Asked for, or a path whose folder would have to be followed with all below; a folder needs no reason."""
    file = tmp_path / "a.onnx"
    file.write_bytes(linear())
    assert RepositoryWatcher([tmp_path], poll_interval_s=1.0, polling=True).polling_reason == "asked for"
    assert RepositoryWatcher([tmp_path, file], poll_interval_s=1.0).polling_reason == "a path is no folder"
    assert RepositoryWatcher([tmp_path / "gone"], poll_interval_s=1.0).polling_reason == "a path is no folder"
    assert not RepositoryWatcher([tmp_path], poll_interval_s=1.0).polling_reason


def _follow(watch: RepositoryWatcher, known: Models) -> tuple[threading.Thread, queue.Queue[Models]]:
    reports: queue.Queue[Models] = queue.Queue()
    thread = threading.Thread(target=watch.run, args=(known, reports.put))
    thread.start()
    return thread, reports


def test_real_changes_are_seen_by_polling(tmp_path: Path) -> None:
    """A new model, a replaced one and a removed one, on a real disk."""
    put_model(tmp_path, "a")
    watch = RepositoryWatcher([tmp_path], poll_interval_s=0.02, stable_s=0.02, polling=True)
    thread, reports = _follow(watch, scan([tmp_path]))
    try:
        file = put_model(tmp_path, "b")
        new = reports.get(timeout=GIVE_UP_S)
        assert sorted(new) == ["a", "b"]
        file.write_bytes(linear(columns=9))
        replaced = reports.get(timeout=GIVE_UP_S)
        assert [name for name in new if new[name] != replaced[name]] == ["b"]
        file.unlink()
        (tmp_path / "b/1").rmdir()
        (tmp_path / "b").rmdir()
        while "b" in reports.get(timeout=GIVE_UP_S):
            pass
    finally:
        watch.stop()
        thread.join(GIVE_UP_S)
    assert not thread.is_alive()


def test_real_changes_are_seen_by_events(tmp_path: Path) -> None:
    """Long before the next scan is due. A folder that events are not yet followed in is no reason to miss one."""
    put_model(tmp_path, "a")
    watch = RepositoryWatcher([tmp_path], poll_interval_s=3600.0, stable_s=0.02)
    thread, reports = _follow(watch, scan([tmp_path]))
    try:
        # When the kernel begins to report is not known here: change something until it does.
        for attempt in range(200):
            put_model(tmp_path, "a", data=linear(columns=3 + attempt))
            try:
                assert list(reports.get(timeout=0.5)) == ["a"]
            except queue.Empty:
                continue
            break
        else:
            raise AssertionError("no event in 100 s")
    finally:
        watch.stop()
        thread.join(GIVE_UP_S)
    assert not thread.is_alive()
