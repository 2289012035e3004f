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
from sardonyx_server.repository.watch import Changes, Settling, Watch, diff
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


def test_diff_names_what_came_went_and_changed() -> None:
    """By fingerprint; a model that breaks has changed even where its files look the same."""
    old: Models = _models(same="1", gone="1", other="1", breaks="1")
    new: Models = _models(same="1", other="2", fresh="1") | {"breaks": _broken("breaks", "1")}
    assert diff(old, new) == Changes(added=("fresh",), removed=("gone",), changed=("breaks", "other"))
    assert diff(old, new)
    assert not diff(old, old)


def test_a_change_is_reported_when_it_was_seen_twice() -> None:
    """And once only; the look it is taken from is the last one."""
    settling = Settling(_models(a="1"), stable_s=2.0)
    assert settling.due_in_s(0.0) is None
    assert not settling.look(_models(a="2"), 0.0)
    assert settling.due_in_s(0.5) == 1.5
    assert not settling.look(_models(a="2"), 1.9)
    assert settling.look(_models(a="2"), 2.0) == Changes(changed=("a",))
    assert settling.known == _models(a="2")
    assert settling.due_in_s(2.0) is None
    assert not settling.look(_models(a="2"), 9.0)


def test_a_model_that_goes_on_changing_is_not_reported() -> None:
    """A file that is being written for an hour is left alone for an hour; the others are not."""
    settling = Settling({}, stable_s=1.0)
    for second in range(3600):
        changes = settling.look(_models(slow=str(second), fast="1"), float(second))
        assert changes == (Changes(added=("fast",)) if second == 1 else Changes())
    assert settling.look(_models(slow="3599", fast="1"), 3600.0) == Changes(added=("slow",))


def test_a_change_that_is_taken_back_is_none() -> None:
    """Also where it comes again: its time starts anew."""
    settling = Settling(_models(a="1"), stable_s=2.0)
    settling.look(_models(a="2"), 0.0)
    assert not settling.look(_models(a="1"), 1.0)
    assert not settling.look(_models(a="2"), 2.0)
    assert not settling.look(_models(a="2"), 3.0)
    assert settling.look(_models(a="2"), 4.0)


def test_a_model_that_is_replaced_is_not_removed() -> None:
    """Between the old folder's end and the new one's arrival lies less than stable_s."""
    settling = Settling(_models(a="1"), stable_s=2.0)
    assert not settling.look({}, 0.0)
    assert not settling.look(_models(a="2"), 1.0)
    assert settling.look(_models(a="2"), 3.0) == Changes(changed=("a",))


def test_a_removal_settles_as_well() -> None:
    """A model that is away at two looks is gone."""
    settling = Settling(_models(a="1", b="1"), stable_s=2.0)
    settling.look(_models(b="1"), 0.0)
    assert settling.look(_models(b="1"), 2.0) == Changes(removed=("a",))
    assert settling.known == _models(b="1")


@given(
    looks=st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from("abc"), st.sampled_from("123"), max_size=3),
            st.sampled_from([0.0, 0.5, 1.0, 3.0]),
        ),
        max_size=20,
    )
)
def test_reports_add_up_to_what_is_there(looks: list[tuple[dict[str, str], float]]) -> None:
    """Replaying the reports gives the known models; what holds still in the end is known in the end."""
    settling = Settling({}, stable_s=1.0)
    replayed: Models = {}
    now_s = 0.0
    for found, step_s in [*looks, ({"a": "9"}, 1.0), ({"a": "9"}, 1.0)]:
        now_s += step_s
        changes = settling.look(_models(**found), now_s)
        assert not set(changes.added) & replayed.keys()
        assert {*changes.removed, *changes.changed} <= replayed.keys()
        for name in changes.removed:
            del replayed[name]
        for name in (*changes.added, *changes.changed):
            replayed[name] = settling.known[name]
        assert replayed == settling.known
        assert settling.due_in_s(now_s) is None or 0.0 <= (settling.due_in_s(now_s) or 0.0) <= 1.0
    assert settling.known == _models(a="9")


@dataclass
class Disk:
    """A disk whose looks are scripted; the last one stays. Time is the number of the look."""

    looks: Sequence[Models]
    taken: int = 0
    seen: list[tuple[Changes, Models]] = field(default_factory=list)
    watch: Watch | None = None

    def look(self, paths: Sequence[Path]) -> Models:
        """The next look; a few after the last one end the watch."""
        self.taken += 1
        if self.taken > len(self.looks) + 3:
            assert self.watch is not None
            self.watch.stop()
        elif self.watch is not None:
            self.watch.look_now()
        return self.looks[min(self.taken, len(self.looks)) - 1]

    def clock(self) -> float:
        """Seconds: one for each look."""
        return float(self.taken)

    def on_change(self, changes: Changes, known: Mapping[str, ModelSpec | BrokenModel]) -> None:
        """Keep a report."""
        self.seen.append((changes, dict(known)))


def test_run_reports_changes_and_all_models(tmp_path: Path) -> None:
    """The observer gets what changed and the models as they are now, on the thread that runs."""
    disk = Disk([_models(a="1"), _models(a="2"), _models(a="2", b="1"), _models(a="2", b="1")])
    disk.watch = Watch([tmp_path], poll_interval_s=3600.0, stable_s=1.0, polling=True, look=disk.look, clock=disk.clock)
    disk.watch.look_now()
    disk.watch.run(_models(a="1"), disk.on_change)
    assert disk.seen == [
        (Changes(changed=("a",)), _models(a="2")),
        (Changes(added=("b",)), _models(a="2", b="1")),
    ]


def test_a_watch_that_was_stopped_looks_at_nothing(tmp_path: Path) -> None:
    """Stop may come first, and more than once."""
    disk = Disk([_models(a="1")])
    watch = Watch([tmp_path], poll_interval_s=3600.0, polling=True, look=disk.look)
    watch.stop()
    watch.stop()
    watch.run({}, disk.on_change)
    assert disk.taken == 0


def test_stop_ends_a_wait(tmp_path: Path) -> None:
    """A watch that would look in an hour ends at once, with its thread of events."""
    before = set(threading.enumerate())
    watch = Watch([tmp_path], poll_interval_s=3600.0)
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
    assert Watch([tmp_path], poll_interval_s=1.0, polling=True).polling_reason == "asked for"
    assert Watch([tmp_path, file], poll_interval_s=1.0).polling_reason == "a path is no folder"
    assert Watch([tmp_path / "gone"], poll_interval_s=1.0).polling_reason == "a path is no folder"
    assert not Watch([tmp_path], poll_interval_s=1.0).polling_reason


def _follow(watch: Watch, known: Models) -> tuple[threading.Thread, queue.Queue[tuple[Changes, Models]]]:
    reports: queue.Queue[tuple[Changes, Models]] = queue.Queue()
    thread = threading.Thread(target=watch.run, args=(known, lambda *report: reports.put(report)))
    thread.start()
    return thread, reports


def test_real_changes_are_seen_by_polling(tmp_path: Path) -> None:
    """A new model, a replaced one and a removed one, on a real disk."""
    put_model(tmp_path, "a")
    watch = Watch([tmp_path], poll_interval_s=0.02, stable_s=0.02, polling=True)
    thread, reports = _follow(watch, scan([tmp_path]))
    try:
        file = put_model(tmp_path, "b")
        changes, known = reports.get(timeout=GIVE_UP_S)
        assert (changes.added, sorted(known)) == (("b",), ["a", "b"])
        file.write_bytes(linear(columns=9))
        assert reports.get(timeout=GIVE_UP_S)[0] == Changes(changed=("b",))
        file.unlink()
        (tmp_path / "b/1").rmdir()
        (tmp_path / "b").rmdir()
        while not reports.get(timeout=GIVE_UP_S)[0].removed:
            pass
    finally:
        watch.stop()
        thread.join(GIVE_UP_S)
    assert not thread.is_alive()


def test_real_changes_are_seen_by_events(tmp_path: Path) -> None:
    """Long before the next look is due. A folder that events are not yet followed in is no reason to miss one."""
    put_model(tmp_path, "a")
    watch = Watch([tmp_path], poll_interval_s=3600.0, stable_s=0.02)
    thread, reports = _follow(watch, scan([tmp_path]))
    try:
        # When the kernel begins to report is not known here: change something until it does.
        for attempt in range(200):
            put_model(tmp_path, "a", data=linear(columns=3 + attempt))
            try:
                changes, _ = reports.get(timeout=0.5)
            except queue.Empty:
                continue
            assert changes == Changes(changed=("a",))
            break
        else:
            raise AssertionError("no event in 100 s")
    finally:
        watch.stop()
        thread.join(GIVE_UP_S)
    assert not thread.is_alive()
