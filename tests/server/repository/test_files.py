"""Private copies: what is taken, what is refused, and that nothing is left behind."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
import sys
from pathlib import Path, PosixPath

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository.files import take_private_copy
from sardonyx_server.repository.hashed_content import CHUNK_BYTES
from sardonyx_server.repository.stable_file import STILL_BEING_WRITTEN
from sardonyx_server.runtime.session import open_session
from sardonyx_wire.tensors import TensorSpec
from tests.server.repository.onnx_models import external, linear, put_model, weights
from tests.server.repository.scans import spec_of
from tests.server.repository.zipmap_models import maps, zipmap, zipped

SUBJECT = "version 1 of model 'm'"
DATA = numpy_helper.to_array(weights(3)).tobytes()


def _put_external(repository: Path, location: str = "w.bin") -> Path:
    """A model whose weights are said to lie at ``location``; returns its folder. Writes no weights."""
    return put_model(repository, "m", data=linear(weight=external(location))).parent


def _refusal(repository: Path) -> LoadFailed:
    with pytest.raises(LoadFailed) as caught:
        take_private_copy(spec_of(repository, "m"), 1, private_parent=repository.parent)
    assert str(repository) not in caught.value.message
    # Whatever was made for it is gone.
    assert not list(repository.parent.glob("sardonyx-*"))
    return caught.value


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """An empty repository, in a folder of its own."""
    folder = tmp_path / "repository"
    folder.mkdir()
    return folder


def test_a_model_is_taken_as_bytes(repository: Path) -> None:
    """One file needs no folder; the signature comes with it."""
    put_model(repository, "m")
    with take_private_copy(spec_of(repository, "m"), 1) as files:
        assert files.model_bytes == linear()
        assert files.path is None
        assert files.graph.signature() == (
            (TensorSpec(name="x", datatype="FP32", shape=(-1, 4), dim_names=("N", "")),),
            (TensorSpec(name="y", datatype="FP32", shape=(-1, 3), dim_names=("N", "")),),
        )
    assert files.model_bytes is None


@pytest.mark.parametrize("size", [CHUNK_BYTES, CHUNK_BYTES + 1, 700_001])
def test_a_large_model_is_taken_whole(repository: Path, size: int) -> None:
    """As bytes or, where the system has such files, as one in memory that is gone afterwards."""
    spare = size - len(linear()) - 4
    data = linear() + onnx.ModelProto(doc_string="c" * spare).SerializeToString()
    assert len(data) == size
    put_model(repository, "m", data=data)
    with take_private_copy(spec_of(repository, "m"), 1) as files:
        in_memory = sys.platform == "linux" and size > CHUNK_BYTES
        assert (files.path is not None, files.model_bytes is None) == (in_memory, in_memory)
        path = files.path
        assert (files.model_bytes if path is None else path.read_bytes()) == data
        assert not files.has_external_data
        assert files.digest() == hashlib.sha256(data).digest()
        assert files.size_bytes() == size
    assert (files.model_bytes, files.path, path is not None and path.exists()) == (None, None, False)


def test_a_large_model_has_no_data_beside_it(repository: Path) -> None:
    """Where it lies as a file in memory, the descriptors of this process lie: onnxruntime does not look there."""
    if sys.platform != "linux":
        pytest.skip("only Linux has files in memory")
    with (repository.parent / "secret").open("w+b") as secret:
        secret.write(DATA)
        secret.flush()
        spare = onnx.ModelProto(doc_string="c" * CHUNK_BYTES).SerializeToString()
        put_model(repository, "m", data=linear(weight=external(str(secret.fileno()))) + spare)
        assert _refusal(repository).message == f"{SUBJECT}: external data '{secret.fileno()}' is not there"
        put_model(repository, "n", data=linear() + spare)
        with take_private_copy(spec_of(repository, "n"), 1) as files:
            assert files.path is not None
            files.path.write_bytes(linear(weight=external(str(secret.fileno()))))
            with pytest.raises(LoadFailed):
                open_session(name="n", path=files.path, has_external_data=files.has_external_data)


def test_external_data_are_copied_to_a_private_folder(repository: Path) -> None:
    """Model and data, also in folders below; others may not enter; a session outlives close, which removes it."""
    folder = _put_external(repository, "./sub/w.bin")
    (folder / "sub").mkdir()
    (folder / "sub/w.bin").write_bytes(DATA)
    (folder / "unrelated").write_bytes(b"x")
    files = take_private_copy(spec_of(repository, "m"), 1, private_parent=repository.parent)
    assert files.model_bytes is None
    assert files.path is not None
    private = files.path.parent
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert sorted(str(each.relative_to(private)) for each in private.rglob("*")) == ["model.onnx", "sub", "sub/w.bin"]
    (folder / "sub/w.bin").write_bytes(b"")
    session = onnxruntime.InferenceSession(files.path, providers=["CPUExecutionProvider"])
    files.close()
    assert not private.exists()
    files.close()
    x = np.ones((1, 4), np.float32)
    assert np.allclose(session.run(None, {"x": x})[0], x @ numpy_helper.to_array(weights(3)))


def test_equal_files_have_equal_digests(repository: Path) -> None:
    """And others have others: of the model, of its external data, and of their names."""
    digests = []
    for location, data in (("w.bin", DATA), ("w.bin", DATA), ("w.bin", DATA[::-1]), ("v.bin", DATA)):
        folder = _put_external(repository, location)
        (folder / location).write_bytes(data)
        with take_private_copy(spec_of(repository, "m"), 1) as files:
            digests.append(files.digest())
    put_model(repository, "m")
    with take_private_copy(spec_of(repository, "m"), 1) as files:
        digests.append(files.digest())
        assert files.digest() == hashlib.sha256(linear()).digest()
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4


@pytest.mark.parametrize("spare", [0, 2**20])
def test_a_model_is_taken_without_its_zipmap(repository: Path, spare: int) -> None:
    """Small or as a file in memory; its digest is that of the file, so that a known one is known again."""
    model = zipped([zipmap("p", "y")], [maps("y")])
    model.doc_string = "c" * spare
    data = model.SerializeToString()
    put_model(repository, "m", data=data)
    with take_private_copy(spec_of(repository, "m"), 1) as files:
        assert (files.path is not None) == (sys.platform == "linux" and spare > 0)
        data_taken = files.path.read_bytes() if files.path is not None else files.model_bytes
        assert data_taken is not None
        taken = onnx.ModelProto.FromString(data_taken)
        assert [node.op_type for node in taken.graph.node] == ["Scaler", "Identity"]
        assert taken.doc_string == model.doc_string
        assert files.digest() == hashlib.sha256(data).digest()
        assert files.size_bytes() == len(data_taken)


def test_external_data_are_found_from_a_model_without_its_zipmap(repository: Path) -> None:
    """However large they are, they are copied and not read; the file beside them is the edited one."""
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["q"])
    weight = external("w.bin")
    weight.dims[0] = 3
    data = zipped([node, zipmap("q", "y")], [maps("y")], initializers=[weight]).SerializeToString()
    folder = put_model(repository, "m", data=data).parent
    matrix = np.arange(9, dtype=np.float32).reshape(3, 3)
    (folder / "w.bin").write_bytes(matrix.tobytes())
    with take_private_copy(spec_of(repository, "m"), 1, private_parent=repository.parent) as files:
        assert files.path is not None
        assert files.path.read_bytes() != data
        session = onnxruntime.InferenceSession(files.path, providers=["CPUExecutionProvider"])
        (scores,) = session.run(None, {"x": np.eye(3, dtype=np.float32)})
        assert scores.tolist() == matrix.tolist()
        assert (folder / "model.onnx").read_bytes() == data


def test_onnxruntime_looks_for_data_of_bytes_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason that such a model is never loaded from bytes."""
    (tmp_path / "w.bin").write_bytes(DATA)
    monkeypatch.chdir(tmp_path)
    onnxruntime.InferenceSession(linear(weight=external("w.bin")), providers=["CPUExecutionProvider"])


def test_links_that_stay_in_the_folder_are_followed(repository: Path) -> None:
    """As Kubernetes lays out a volume."""
    folder = _put_external(repository)
    (folder / "..data").mkdir()
    (folder / "..data/w.bin").write_bytes(DATA)
    (folder / "w.bin").symlink_to("..data/w.bin")
    with take_private_copy(spec_of(repository, "m"), 1, private_parent=repository.parent) as files:
        assert files.path is not None
        assert (files.path.parent / "w.bin").read_bytes() == DATA
        assert not (files.path.parent / "w.bin").is_symlink()


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("../w.bin", "../w.bin"),
        ("sub/../../w.bin", "sub/../../w.bin"),
        ("/etc/shadow", "/.../shadow"),
        ("", ""),
        ("sub/", "sub/"),
        (".", "."),
        ("..", ".."),
        ("a\\..\\b", "a\\\\..\\\\b"),
        ("*/_ORT_MEM_ADDR_/*", "*/_ORT_MEM_ADDR_/*"),
        ("a\nb", "a\\nb"),
    ],
)
def test_locations_that_may_lead_out_are_refused(repository: Path, location: str, shown: str) -> None:
    """Before anything is opened; onnxruntime's mark for data in memory is one of them."""
    _put_external(repository, location)
    assert _refusal(repository).message == (
        f"{SUBJECT}: external data '{shown}': expected a path inside the version folder, without '..'"
    )


def test_data_in_the_model_itself_are_refused(repository: Path) -> None:
    """The copy would overwrite the model."""
    _put_external(repository, "./model.onnx")
    assert _refusal(repository).message == f"{SUBJECT}: external data './model.onnx' is the model itself"


def test_missing_data_are_named(repository: Path) -> None:
    """By the location that the model gives."""
    _put_external(repository, "sub/w.bin")
    assert _refusal(repository).message == f"{SUBJECT}: external data 'sub/w.bin' is not there"


def test_links_out_of_the_folder_are_refused(repository: Path) -> None:
    """A link to a file, a link on the way, and a link to the folder itself."""
    folder = _put_external(repository)
    secret = repository.parent / "secret"
    secret.mkdir()
    (secret / "w.bin").write_bytes(DATA)
    (folder / "w.bin").symlink_to(secret / "w.bin")
    out = "is a link out of the version folder; put the file itself there"
    assert _refusal(repository).message == f"{SUBJECT}: external data 'w.bin' {out}"
    _put_external(repository, "sub/w.bin")
    (folder / "sub").symlink_to(secret)
    assert _refusal(repository).message == f"{SUBJECT}: external data 'sub/w.bin' {out}"
    _put_external(repository, "self")
    (folder / "self").symlink_to(".")
    assert _refusal(repository).message == f"{SUBJECT}: external data 'self' {out}"


def test_hard_links_are_refused(repository: Path) -> None:
    """The runtime loads them, whatever they lead to."""
    folder = _put_external(repository)
    secret = repository.parent / "secret"
    secret.write_bytes(DATA)
    os.link(secret, folder / "w.bin")
    assert _refusal(repository).message == (
        f"{SUBJECT}: external data 'w.bin' has hard links; put a copy of the file there"
    )


@pytest.mark.parametrize("kind", ["folder", "FIFO", "loop"])
def test_data_that_are_no_file_are_refused(repository: Path, kind: str) -> None:
    """Without blocking."""
    folder = _put_external(repository)
    if kind == "folder":
        (folder / "w.bin").mkdir()
    elif kind == "FIFO":
        os.mkfifo(folder / "w.bin")
    else:
        (folder / "w.bin").symlink_to("w.bin")
    problem = "is a link that leads back to itself" if kind == "loop" else f"is a {kind}, expected a file"
    assert _refusal(repository).message == f"{SUBJECT}: external data 'w.bin' {problem}"


class _Restless(PosixPath):
    """A path to a file that is touched at each stat."""

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """As of a path, after a touch."""
        before = super().stat()
        os.utime(self, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
        return super().stat()


def test_a_copy_of_files_that_change_is_thrown_away(repository: Path) -> None:
    """The private folder too."""
    folder = _put_external(repository)
    (folder / "w.bin").write_bytes(DATA)
    spec = spec_of(repository, "m")
    restless = dataclasses.replace(spec, files={1: _Restless(spec.files[1])})
    with pytest.raises(LoadFailed) as caught:
        take_private_copy(restless, 1, private_parent=repository.parent)
    assert caught.value.reason == STILL_BEING_WRITTEN
    assert not list(repository.parent.glob("sardonyx-*"))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (np.random.default_rng(3).bytes(500), "is no ONNX model, or cut off (500 bytes)"),
        (linear()[:-20], f"is no ONNX model, or cut off ({len(linear()) - 20} bytes)"),
    ],
)
def test_random_and_cut_files_are_refused(repository: Path, data: bytes, problem: str) -> None:
    """With their size, which shows a broken upload."""
    put_model(repository, "m", data=data)
    assert _refusal(repository).message == f"{SUBJECT} {problem}"


def test_a_version_that_vanished_is_refused(repository: Path) -> None:
    """The spec is from the last scan; the disk may have moved on."""
    file = put_model(repository, "m")
    spec = spec_of(repository, "m")
    file.unlink()
    with pytest.raises(LoadFailed, match=r"^version 1 of model 'm': version folder '1' has no 'model.onnx'$"):
        take_private_copy(spec, 1)


def test_a_folder_that_cannot_be_written_is_a_load_error(repository: Path) -> None:
    """A missing folder for copies is the operator's to mend."""
    folder = _put_external(repository)
    (folder / "w.bin").write_bytes(DATA)
    with pytest.raises(LoadFailed):
        take_private_copy(spec_of(repository, "m"), 1, private_parent=repository.parent / "gone")


def test_an_unknown_operator_is_not_judged_here(repository: Path) -> None:
    """Whether onnxruntime can run a graph is for onnxruntime to say."""
    model = onnx.ModelProto.FromString(linear())
    model.graph.node[0].op_type = "NoSuchOperator"
    model.opset_import[0].version = 99
    put_model(repository, "m", data=model.SerializeToString())
    with take_private_copy(spec_of(repository, "m"), 1) as files:
        assert [value.name for value in files.graph.outputs] == ["y"]
