"""What scan finds, what it calls broken and why, and that it never raises."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository import scan as scan_module
from sardonyx_server.repository.files import take_private_copy
from sardonyx_server.repository.model_override import parse_config_override
from sardonyx_server.repository.scan import scan
from sardonyx_server.repository.spec import BrokenModel, ModelSpec, name_problem
from tests.server.repository.onnx_models import linear, put_model
from tests.server.repository.scans import reason_of, spec_of

# --- layouts ---------------------------------------------------------------------------------------------------------


def test_a_repository_gives_each_folder_as_a_model(tmp_path: Path) -> None:
    """Names are the folders' names, and a model without config.pbtxt has an empty config with its name."""
    put_model(tmp_path, "a")
    put_model(tmp_path, "b", config="max_batch_size: 8")
    found = scan([tmp_path])
    assert list(found) == ["a", "b"]
    a, b = spec_of(tmp_path, "a"), spec_of(tmp_path, "b")
    assert (a.versions, a.files, a.folder) == ((1,), {1: tmp_path / "a/1/model.onnx"}, tmp_path / "a")
    assert (a.config.name, a.config.max_batch_size) == ("a", 0)
    assert (b.config.name, b.config.max_batch_size) == ("b", 8)


def test_a_folder_of_files_gives_each_file_as_a_model(tmp_path: Path) -> None:
    """The stem is the name, the version is 1, and what else lies there is nothing to us."""
    for name in ("a.onnx", "b.c.onnx"):
        (tmp_path / name).write_bytes(linear())
    (tmp_path / "export").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    assert list(scan([tmp_path])) == ["a", "b.c"]
    assert spec_of(tmp_path, "b.c").files == {1: tmp_path / "b.c.onnx"}


def test_a_folder_may_hold_files_and_model_folders(tmp_path: Path) -> None:
    """Beside .onnx files a folder counts where it looks like a model."""
    (tmp_path / "a.onnx").write_bytes(linear())
    put_model(tmp_path, "b")
    assert list(scan([tmp_path])) == ["a", "b"]


def test_one_file_is_a_repository(tmp_path: Path) -> None:
    """A path to a .onnx file serves that file."""
    file = tmp_path / "a.onnx"
    file.write_bytes(linear())
    assert spec_of(file, "a").files == {1: file}


def test_a_file_in_capitals_is_served_as_any_other(tmp_path: Path) -> None:
    """Beside others, and alone. It was passed over without a word."""
    for name in ("a.onnx", "B.ONNX", "c.Onnx"):
        (tmp_path / name).write_bytes(linear())
    (tmp_path / "a.ONNX").write_bytes(linear())
    found = scan([tmp_path])
    assert list(found) == ["B", "a", "c"]
    assert {name for name, model in found.items() if isinstance(model, ModelSpec)} == {"B", "c"}
    assert reason_of(tmp_path, "a").startswith("model 'a' is there 2 times: ")
    assert spec_of(tmp_path / "B.ONNX", "B").files == {1: tmp_path / "B.ONNX"}
    (tmp_path / "d.ONNX").touch()
    assert reason_of(tmp_path, "d") == "'d.ONNX' is empty"


def test_a_model_in_capitals_in_a_version_folder_is_to_be_renamed(tmp_path: Path) -> None:
    """A config says how a version's model is called, and what it says is taken to the letter."""
    put_model(tmp_path, "m")
    (tmp_path / "m/1/model.onnx").rename(tmp_path / "m/1/model.ONNX")
    assert reason_of(tmp_path, "m").startswith("model 'm': version folder '1' has no 'model.onnx'; rename 'model.ONNX'")


def test_an_empty_repository_has_no_models(tmp_path: Path) -> None:
    """Nothing is wrong with it."""
    assert scan([tmp_path]) == {}


@pytest.mark.parametrize("name", ["a:b", "a b", "7", "a.b", "ä", "v1:latest v2"])
def test_odd_names_are_served(tmp_path: Path, name: str) -> None:
    """Names of real models hold colons, spaces, dots and digits alone."""
    put_model(tmp_path, name)
    assert spec_of(tmp_path, name).name == name


@pytest.mark.parametrize("given", ["relative", ".", "trailing/"])
def test_relative_paths_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    """A path may be relative, or the current directory."""
    root = tmp_path / given.rstrip("/.")
    root.mkdir(exist_ok=True)
    put_model(root, "a")
    monkeypatch.chdir(tmp_path)
    assert list(scan([Path(given)])) == ["a"]


def test_the_same_path_twice_counts_once(tmp_path: Path) -> None:
    """Also where it is spelled in another way, or reached through a link."""
    put_model(tmp_path / "r", "a")
    (tmp_path / "link").symlink_to(tmp_path / "r")
    assert isinstance(scan([tmp_path / "r", tmp_path / "r/../r", tmp_path / "link"])["a"], ModelSpec)


def test_hidden_things_caches_and_other_files_are_silently_ignored(tmp_path: Path) -> None:
    """README, .git, __pycache__ and sockets without the suffix are no models and no warnings."""
    put_model(tmp_path, "a")
    (tmp_path / "README.md").write_text("x")
    (tmp_path / ".git").mkdir()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "a/__pycache__").mkdir()
    (tmp_path / "a/notes.txt").write_text("x")
    (tmp_path / "a/warmup").mkdir()
    os.mkfifo(tmp_path / "fifo")
    assert list(scan([tmp_path])) == ["a"]
    assert spec_of(tmp_path, "a").warnings == ()


def test_models_may_be_reached_through_links(tmp_path: Path) -> None:
    """Kubernetes mounts volumes as links to a hidden folder that is swapped; a swap changes the fingerprint."""
    put_model(tmp_path / "repository/..one", "m")
    link = tmp_path / "repository/m"
    link.symlink_to("..one/m")
    before = spec_of(tmp_path / "repository", "m")
    put_model(tmp_path / "repository/..two", "m", data=linear(columns=5))
    link.unlink()
    link.symlink_to("..two/m")
    assert spec_of(tmp_path / "repository", "m").fingerprint != before.fingerprint


def test_a_model_file_may_be_a_folder_of_that_name(tmp_path: Path) -> None:
    """Triton's form for models of several files: model.onnx/model.onnx."""
    nested = tmp_path / "a/1/model.onnx"
    nested.mkdir(parents=True)
    (nested / "model.onnx").write_bytes(linear())
    assert spec_of(tmp_path, "a").files == {1: nested / "model.onnx"}


# --- broken ----------------------------------------------------------------------------------------------------------


def test_wrong_kinds_of_file_are_broken(tmp_path: Path) -> None:
    """A folder, FIFO, socket, loop or dead link in place of a model is named as what it is, without blocking."""
    (tmp_path / "folder/1/model.onnx").mkdir(parents=True)
    for name in ("fifo", "socket", "loop", "dead", "empty"):
        (tmp_path / name / "1").mkdir(parents=True)
    os.mkfifo(tmp_path / "fifo/1/model.onnx")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket/1/model.onnx"))
    (tmp_path / "loop/1/model.onnx").symlink_to("model.onnx")
    (tmp_path / "dead/1/model.onnx").symlink_to("nowhere")
    (tmp_path / "empty/1/model.onnx").touch()
    assert {name: model.reason for name, model in scan([tmp_path]).items() if isinstance(model, BrokenModel)} == {
        "folder": "version 1 of model 'folder': 'model.onnx' is a folder, expected a file",
        "fifo": "version 1 of model 'fifo': 'model.onnx' is a FIFO, expected a file",
        "socket": "version 1 of model 'socket': 'model.onnx' is a socket, expected a file",
        "loop": "version 1 of model 'loop': 'model.onnx' is a link that leads back to itself",
        "dead": "version 1 of model 'dead': 'model.onnx' is a link that leads nowhere",
        "empty": "version 1 of model 'empty': 'model.onnx' is empty",
    }


def test_wrong_kinds_of_file_among_files_are_broken(tmp_path: Path) -> None:
    """The same in a folder of .onnx files."""
    (tmp_path / "empty.onnx").touch()
    os.mkfifo(tmp_path / "fifo.onnx")
    (tmp_path / "loop.onnx").symlink_to("loop.onnx")
    (tmp_path / "dead.onnx").symlink_to("nowhere")
    assert {name: model.reason for name, model in scan([tmp_path]).items() if isinstance(model, BrokenModel)} == {
        "empty": "'empty.onnx' is empty",
        "fifo": "'fifo.onnx' is a FIFO, expected a file",
        "loop": "'loop.onnx' is a link that leads back to itself",
        "dead": "'dead.onnx' is a link that leads nowhere",
    }


def test_a_folder_that_holds_itself_ends(tmp_path: Path) -> None:
    """Links upwards are followed once."""
    put_model(tmp_path, "a")
    (tmp_path / "a/1/up").symlink_to("../..")
    (tmp_path / "a/self").symlink_to(".")
    assert spec_of(tmp_path, "a").versions == (1,)


def test_the_folder_of_one_model_is_told_from_a_repository(tmp_path: Path) -> None:
    """The hint says which folder to give."""
    put_model(tmp_path, "a")
    put_model(tmp_path, "b", config="max_batch_size: 4")
    hint = "is the folder of one model; give the folder above it as the repository"
    assert reason_of(tmp_path / "a", "a") == f"'a' {hint}"
    assert reason_of(tmp_path / "b", "b") == f"'b' {hint}"


def test_a_model_may_be_named_like_a_version(tmp_path: Path) -> None:
    """A repository with a model '1' is no model folder."""
    put_model(tmp_path, "1")
    assert spec_of(tmp_path, "1").versions == (1,)


def test_a_path_that_is_no_repository_is_broken(tmp_path: Path) -> None:
    """Missing paths and other files have a reason, and the rest is still found."""
    put_model(tmp_path / "r", "a")
    (tmp_path / "x.txt").write_text("x")
    found = scan([tmp_path / "r", tmp_path / "gone", tmp_path / "x.txt", Path("nul\0byte")])
    assert {name: model.reason for name, model in found.items() if isinstance(model, BrokenModel)} == {
        "gone": "'gone' is not there",
        "x.txt": "'x.txt' is a file, expected a folder or an .onnx file",
        "nul\\x00byte": "'nul\\x00byte' cannot be a path",
    }
    assert isinstance(found["a"], ModelSpec)


def test_a_name_at_two_places_is_broken_at_both(tmp_path: Path) -> None:
    """The reason names both, with as much of the path as tells them apart."""
    put_model(tmp_path / "one", "a")
    put_model(tmp_path / "two", "a")
    put_model(tmp_path / "two", "b")
    found = scan([tmp_path / "one", tmp_path / "two"])
    assert isinstance(found["a"], BrokenModel)
    assert found["a"].reason == "model 'a' is there 2 times: 'one/a', 'two/a'; rename or remove all but one"
    assert isinstance(found["b"], ModelSpec)
    put_model(tmp_path / "x/models", "c")
    put_model(tmp_path / "y/models", "c")
    deep = scan([tmp_path / "x/models", tmp_path / "y/models"])["c"]
    assert isinstance(deep, BrokenModel)
    assert deep.reason == ("model 'c' is there 2 times: 'x/models/c', 'y/models/c'; rename or remove all but one")


def test_a_file_and_a_folder_of_one_name_are_broken(tmp_path: Path) -> None:
    """a.onnx and a/ are both model 'a'."""
    put_model(tmp_path / "r", "a")
    (tmp_path / "r/a.onnx").write_bytes(linear())
    assert reason_of(tmp_path / "r", "a") == (
        "model 'a' is there 2 times: 'r/a', 'r/a.onnx'; rename or remove all but one"
    )


@pytest.mark.parametrize(
    ("name", "shown"), [("a\nb", "a\\nb"), ("a\x1b[31mb", "a\\x1b[31mb"), (os.fsdecode(b"a\xff"), "a\\udcff")]
)
def test_names_that_cannot_be_shown_are_broken_and_escaped(tmp_path: Path, name: str, shown: str) -> None:
    """No terminal escape sequence and nothing that protobuf cannot carry leaves through a name."""
    put_model(tmp_path, name)
    found = scan([tmp_path])
    assert list(found) == [shown]
    assert found[shown].name == shown


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a\0b", "a\x7f", "a\x85", "\udcff", "x" * 256])
def test_names_that_are_refused(name: str) -> None:
    """What cannot be one folder's name, or is not fit to be shown, names no model."""
    assert name_problem(name)


@pytest.mark.parametrize("name", ["iris", "a..b", "-", "a:b c.d", "x" * 255, "\N{GREEK SMALL LETTER ALPHA}"])
def test_names_that_are_accepted(name: str) -> None:
    """Anything else does."""
    assert name_problem(name) is None


# --- anything at all -------------------------------------------------------------------------------------------------

_NAMES = st.sampled_from(["a", "1", "2", "01", "m.onnx", "model.onnx", "config.pbtxt", "labels.txt", ".h", "a\nb", "ü"])
_CONTENTS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            linear(),
            linear()[:60],
            b"",
            b"max_batch_size: 3",
            b'output { name: "y" label_filename: "labels.txt" }',
            b"version_policy { all { } }",
            b'default_model_filename: "m.onnx"',
        ]
    ),
)
_LINKS = st.sampled_from(["..", ".", "a", "1", "model.onnx", "nowhere", "../..", "/etc/hostname"])
_THINGS = st.recursive(
    st.one_of(st.tuples(st.just("file"), _CONTENTS), st.tuples(st.just("link"), _LINKS), st.just(("fifo", None))),
    lambda inner: st.tuples(st.just("folder"), st.dictionaries(_NAMES, inner, max_size=4)),
    max_leaves=12,
)


def _grow(path: Path, thing: tuple[str, object]) -> None:
    kind, what = thing
    if kind == "file":
        assert isinstance(what, bytes)
        path.write_bytes(what)
    elif kind == "link":
        path.symlink_to(str(what))
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        assert isinstance(what, dict)
        path.mkdir()
        for name, inner in what.items():
            _grow(path / name, inner)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=st.dictionaries(_NAMES, _THINGS, max_size=5))
def test_scan_never_raises_and_never_tells_where_things_are(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, tuple[str, object]]
) -> None:
    """Random trees give models and reasons only; what then cannot be copied is LoadFailed, with a text for callers."""
    root = tmp_path_factory.mktemp("tree") / "repository"
    _grow(root, ("folder", tree))
    for path in (root, *(root / name for name in tree)):
        for name, model in scan([path]).items():
            assert model.name == name
            name.encode()
            if isinstance(model, BrokenModel):
                texts = [model.reason]
            else:
                texts = list(model.warnings)
                for version in model.versions:
                    try:
                        take_private_copy(model, version).close()
                    except LoadFailed as error:
                        texts.append(error.message)
            for text in texts:
                assert text.isprintable()
                assert str(root.parent) not in text


# --- one model -------------------------------------------------------------------------------------------------------


def test_one_model_is_found_as_all_are(tmp_path: Path) -> None:
    """The same in every layout, also what is broken."""
    put_model(tmp_path, "a", data=linear())
    put_model(tmp_path, "a.b", data=linear())
    put_model(tmp_path, "broken", data=linear(), config="max_batch: 3")
    (tmp_path / "lone.onnx").write_bytes(linear())
    paths = [tmp_path, tmp_path / "lone.onnx", tmp_path / "gone"]
    found = scan(paths)
    assert found.keys() == {"a", "a.b", "broken", "lone", "gone"}
    for name, model in found.items():
        assert scan_module.find_model(paths, name) == model


@pytest.mark.parametrize("name", ["", ".", "..", "a/1", "/", "nobody", "a\0", "A", "a" * 100_000])
def test_a_name_makes_no_path(tmp_path: Path, name: str) -> None:
    """It is compared with what there is."""
    put_model(tmp_path, "a", data=linear())
    assert scan_module.find_model([tmp_path], name) is None


def test_a_given_config_takes_the_place_of_the_one_on_disk(tmp_path: Path) -> None:
    """Which may be broken. The fingerprints tell them apart."""
    put_model(tmp_path, "m", data=linear(), config="max_batch: 3")
    (tmp_path / "lone.onnx").write_bytes(linear())
    for name in ("m", "lone"):
        config = parse_config_override('{"max_batch_size": 2}', name)
        found = scan_module.find_model([tmp_path], name, config)
        again = scan_module.find_model([tmp_path], name, config)
        other = scan_module.find_model([tmp_path], name, parse_config_override('{"max_batch_size": 3}', name))
        assert isinstance(found, ModelSpec)
        assert isinstance(other, ModelSpec)
        assert found == again
        assert found.config.max_batch_size == 2
        assert found.fingerprint != other.fingerprint
        assert found.version_fingerprints[1] != other.version_fingerprints[1]


def test_the_config_of_a_single_file_references_no_other_file(tmp_path: Path) -> None:
    """Beside it lie other models."""
    (tmp_path / "lone.onnx").write_bytes(linear())
    for config in ('{"output": [{"label_filename": "x"}]}', '{"model_warmup": [{}]}'):
        found = scan_module.find_model([tmp_path], "lone", parse_config_override(config, "lone"))
        assert isinstance(found, BrokenModel)
        assert (
            found.reason
            == "'lone.onnx' is a single-file model: its config cannot reference label files or warm-up samples"
        )
