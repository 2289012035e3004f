"""One model's folder: its versions, its labels and its config, and what makes it broken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository.files import take_private_copy
from sardonyx_server.repository.scan import scan
from sardonyx_server.repository.spec import ModelSpec
from sardonyx_wire.messages import ModelConfig
from tests.server.repository.onnx_models import linear, put_model
from tests.server.repository.scans import reason_of, spec_of


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("", (10,)),
        ("version_policy { latest { } }", (10,)),
        ("version_policy { latest { num_versions: 2 } }", (3, 10)),
        ("version_policy { latest { num_versions: 99 } }", (1, 3, 10)),
        ("version_policy { all { } }", (1, 3, 10)),
        ("version_policy { specific { versions: [3, 1, 3] } }", (1, 3)),
    ],
)
def test_the_version_policy_selects(tmp_path: Path, policy: str, expected: tuple[int, ...]) -> None:
    """Versions are ordered as numbers; the newest one is served unless the config says otherwise."""
    for version in ("1", "3", "10"):
        put_model(tmp_path, "a", version, config=policy)
    assert spec_of(tmp_path, "a").versions == expected


def test_folders_that_are_no_versions_are_ignored_with_a_warning(tmp_path: Path) -> None:
    """Versions are positive whole numbers without leading zeros, at most 2^63 - 1."""
    put_model(tmp_path, "a")
    others = ["0", "01", "-1", "1.5", "v2", "²", "9223372036854775808"]
    for name in others:
        put_model(tmp_path, "a", name)
    put_model(tmp_path, "b", "9223372036854775807")
    found = spec_of(tmp_path, "a")
    assert found.versions == (1,)
    assert sorted(found.warnings) == [
        f"folder '{name}' is ignored: a version is a positive whole number without leading zeros"
        for name in sorted(others)
    ]
    assert spec_of(tmp_path, "b").versions == (2**63 - 1,)


def test_a_version_folder_without_its_file_does_not_displace_one_that_has_it(tmp_path: Path) -> None:
    """A folder that is just being filled is no version yet."""
    put_model(tmp_path, "a", "1")
    (tmp_path / "a/2").mkdir()
    found = spec_of(tmp_path, "a")
    assert found.versions == (1,)
    assert found.warnings == ("version 2 is ignored: its folder has no 'model.onnx'",)


def test_a_specific_version_that_is_missing_fails_by_itself(tmp_path: Path) -> None:
    """The others are served; its own reason comes when it is loaded."""
    put_model(tmp_path, "a", config="version_policy { specific { versions: [1, 4, 5] } }")
    (tmp_path / "a/5").mkdir()
    found = spec_of(tmp_path, "a")
    assert found.versions == (1, 4, 5)
    with pytest.raises(LoadFailed) as missing:
        take_private_copy(found, 4)
    assert missing.value.message == "version 4 of model 'a': there is no folder '4'"
    with pytest.raises(LoadFailed) as empty:
        take_private_copy(found, 5)
    assert empty.value.message == "version 5 of model 'a': version folder '5' has no 'model.onnx'"


def test_as_many_versions_may_be_named_as_is_said(tmp_path: Path) -> None:
    """One more is refused, see below."""
    put_model(tmp_path, "a", config=f"version_policy {{ specific {{ versions: {list(range(1, 1025))} }} }}")
    assert len(spec_of(tmp_path, "a").versions) == 1024


def test_a_broken_version_leaves_the_others(tmp_path: Path) -> None:
    """Only where every selected version is broken is the model."""
    put_model(tmp_path, "a", "1", config="version_policy { all { } }")
    put_model(tmp_path, "a", "2", data=b"")
    found = spec_of(tmp_path, "a")
    assert found.versions == (1, 2)
    with pytest.raises(LoadFailed) as caught:
        take_private_copy(found, 2)
    assert caught.value.message == "version 2 of model 'a': 'model.onnx' is empty"


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (
            "version_policy { specific { versions: [4] } }",
            "version 4 of model 'a': there is no folder '4'",
        ),
        (
            "version_policy { specific { } }",
            "config.pbtxt of model 'a': version_policy.specific.versions: expected numbers from 1, got none",
        ),
        (
            "version_policy { specific { versions: [0] } }",
            "config.pbtxt of model 'a': version_policy.specific.versions: expected numbers from 1, got 0",
        ),
        (
            f"version_policy {{ specific {{ versions: {list(range(1, 1026))} }} }}",
            "config.pbtxt of model 'a': version_policy.specific.versions: expected at most 1,024 numbers, got 1,025",
        ),
        (
            'default_model_filename: "../../secret.onnx"',
            (
                "config.pbtxt of model 'a': default_model_filename is '../../secret.onnx', expected a file inside the "
                "version folder, without '..'"
            ),
        ),
        (
            'default_model_filename: "/root/secret.onnx"',
            (
                "config.pbtxt of model 'a': default_model_filename is '/.../secret.onnx', expected a file inside the "
                "version folder, without '..'"
            ),
        ),
        (
            'default_model_filename: "other.onnx"',
            (
                "model 'a': version folder '1' has no 'other.onnx'; rename 'model.onnx', or name it as "
                "default_model_filename in config.pbtxt"
            ),
        ),
    ],
)
def test_a_config_that_leads_to_no_version_is_broken(tmp_path: Path, policy: str, reason: str) -> None:
    """The reason names the setting."""
    put_model(tmp_path, "a", config=policy)
    assert reason_of(tmp_path, "a") == reason


def test_a_model_folder_without_versions_is_broken(tmp_path: Path) -> None:
    """The reason says where the file belongs."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b/net.onnx").write_bytes(linear())
    (tmp_path / "c/1").mkdir(parents=True)
    (tmp_path / "c/1/net.onnx").write_bytes(linear())
    (tmp_path / "d/1").mkdir(parents=True)
    (tmp_path / "d/1/model.pt").write_bytes(b"x")
    put_model(tmp_path, "ok")
    assert reason_of(tmp_path, "d") == (
        "model 'd': version folder '1' has no 'model.onnx' but 'model.pt'; only ONNX models are served here"
    )
    assert reason_of(tmp_path, "a") == "model 'a' has no version folder; expected 'a/1/model.onnx'"
    assert reason_of(tmp_path, "b") == "model 'b' has no version folder; move 'net.onnx' to 'b/1/model.onnx'"
    assert reason_of(tmp_path, "c") == (
        "model 'c': version folder '1' has no 'model.onnx'; rename 'net.onnx', or name it as default_model_filename in "
        "config.pbtxt"
    )
    assert isinstance(scan([tmp_path])["ok"], ModelSpec)


def test_labels_are_read(tmp_path: Path) -> None:
    """One label per line; a byte order mark, Windows line ends and blank lines at the end do not matter."""
    put_model(tmp_path, "a", config='output { name: "y" label_filename: "labels.txt" }')
    (tmp_path / "a/labels.txt").write_bytes(b"\xef\xbb\xbfcat\r\n\r\nd\xc3\xb6g\r\n\n")
    assert spec_of(tmp_path, "a").labels == {"y": ("cat", "", "dög")}


@pytest.mark.parametrize(
    ("filename", "problem"),
    [
        ("labels.txt", " is not there"),
        ("../other/labels.txt", ": expected a file inside the model's folder, without '..'"),
        ("folder", " is a folder, expected a file"),
        ("binary", " is not UTF-8: byte 1 is 0xff"),
    ],
)
def test_label_files_that_cannot_be_read_break_the_model(tmp_path: Path, filename: str, problem: str) -> None:
    """The reason names the file."""
    put_model(tmp_path, "a", config=f'output {{ name: "y" label_filename: "{filename}" }}')
    (tmp_path / "a/folder").mkdir()
    (tmp_path / "a/binary").write_bytes(b"a\xff")
    assert reason_of(tmp_path, "a") == f"model 'a': label file '{filename}'{problem}"


def test_an_absolute_label_file_is_refused_without_its_folder(tmp_path: Path) -> None:
    """Reasons go out to callers."""
    put_model(tmp_path, "a", config=f'output {{ name: "y" label_filename: "{tmp_path}/labels.txt" }}')
    assert reason_of(tmp_path, "a") == (
        "model 'a': label file '/.../labels.txt': expected a file inside the model's folder, without '..'"
    )


def test_a_config_that_is_no_file_breaks_the_model(tmp_path: Path) -> None:
    """A folder or FIFO named config.pbtxt is named as what it is."""
    put_model(tmp_path, "a")
    (tmp_path / "a/config.pbtxt").mkdir()
    put_model(tmp_path, "b")
    os.mkfifo(tmp_path / "b/config.pbtxt")
    assert reason_of(tmp_path, "a") == "config.pbtxt of model 'a' is a folder, expected a file"
    assert reason_of(tmp_path, "b") == "config.pbtxt of model 'b' is a FIFO, expected a file"


def test_an_empty_config_says_nothing(tmp_path: Path) -> None:
    """And is no error."""
    put_model(tmp_path, "a")
    (tmp_path / "a/config.pbtxt").touch()
    assert spec_of(tmp_path, "a").config == ModelConfig(name="a")


def test_a_config_that_is_not_utf8_breaks_the_model(tmp_path: Path) -> None:
    """The reason says which byte."""
    put_model(tmp_path, "a")
    (tmp_path / "a/config.pbtxt").write_bytes(b"name: \xff")
    assert reason_of(tmp_path, "a") == "config.pbtxt of model 'a' is not UTF-8: byte 6 is 0xff"


def test_fields_without_effect_are_warned_about(tmp_path: Path) -> None:
    """By path, in one line."""
    put_model(
        tmp_path,
        "a",
        config="optimization { priority: PRIORITY_MAX graph { level: 1 } } ensemble_scheduling { }",
    )
    assert spec_of(tmp_path, "a").warnings == (
        "config.pbtxt sets what has no effect here: optimization.priority, ensemble_scheduling",
    )


@pytest.mark.parametrize(
    ("config", "declines"), [("", False), ("max_batch_size: 0", True), ("max_batch_size: 4", False), ("# x", False)]
)
def test_a_stated_zero_declines_batching(tmp_path: Path, config: str, declines: bool) -> None:
    """Silence leaves it to the probe."""
    put_model(tmp_path, "a", config=config)
    assert spec_of(tmp_path, "a").declines_batching is declines
