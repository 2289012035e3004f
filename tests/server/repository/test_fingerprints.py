"""Fingerprints: equal while nothing changes, and different after every change."""

from __future__ import annotations

import os
from pathlib import Path

from sardonyx_server.repository.scan import scan
from tests.server.repository.onnx_models import linear, put_model
from tests.server.repository.scans import spec_of


def test_fingerprints_are_equal_while_nothing_changes(tmp_path: Path) -> None:
    """Two scans of the same disk give equal specs."""
    put_model(tmp_path, "a", config="max_batch_size: 4")
    (tmp_path / "b.onnx").write_bytes(linear())
    assert scan([tmp_path]) == scan([tmp_path])


def test_each_change_changes_the_fingerprint(tmp_path: Path) -> None:
    """Contents, time alone, config, another version, a file beside the model."""
    file = put_model(tmp_path, "a")
    seen = [spec_of(tmp_path, "a").fingerprint]

    def scan_again() -> None:
        seen.append(spec_of(tmp_path, "a").fingerprint)

    file.write_bytes(linear(columns=7))
    scan_again()
    os.utime(file, ns=(1, 1))
    scan_again()
    (tmp_path / "a/config.pbtxt").write_text("max_batch_size: 4")
    scan_again()
    replacement = tmp_path / "a/1/replacement"
    replacement.write_bytes(file.read_bytes())
    os.utime(replacement, ns=(1, 1))
    replacement.rename(file)
    scan_again()
    put_model(tmp_path, "a", "2")
    scan_again()
    (tmp_path / "a/2/weights.bin").write_bytes(b"x")
    scan_again()
    assert len(set(seen)) == len(seen)


def test_a_version_fingerprint_ignores_other_versions(tmp_path: Path) -> None:
    """So that a new version does not reload the old one; a new config reloads both."""
    put_model(tmp_path, "a", "1", config="version_policy { all { } }")
    first = spec_of(tmp_path, "a").version_fingerprints[1]
    put_model(tmp_path, "a", "2")
    second = spec_of(tmp_path, "a").version_fingerprints
    assert second[1] == first
    (tmp_path / "a/config.pbtxt").write_text("version_policy { all { } } max_batch_size: 4")
    third = spec_of(tmp_path, "a").version_fingerprints
    assert third[1] != second[1]
    assert third[2] != second[2]


def test_a_version_among_thousands_is_followed(tmp_path: Path) -> None:
    """One that is new, and one that is written anew; those that nobody serves are not looked into."""
    for version in range(1, 5_200):
        (tmp_path / "a" / str(version)).mkdir(parents=True)
    file = put_model(tmp_path, "a", "5199")
    first = spec_of(tmp_path, "a")
    os.utime(file, ns=(1, 1))
    second = spec_of(tmp_path, "a")
    assert second.version_fingerprints[5199] != first.version_fingerprints[5199]
    assert second.fingerprint != first.fingerprint
    put_model(tmp_path, "a", "999999")
    third = spec_of(tmp_path, "a")
    assert third.versions == (999999,)
    assert third.fingerprint != second.fingerprint


def test_files_that_are_being_uploaded_do_not_count(tmp_path: Path) -> None:
    """Editors and rsync write to hidden names first."""
    put_model(tmp_path, "a")
    before = spec_of(tmp_path, "a").fingerprint
    (tmp_path / "a/1/.model.onnx.Xy12").write_bytes(b"x")
    assert spec_of(tmp_path, "a").fingerprint == before


def test_the_data_beside_a_lone_file_count(tmp_path: Path) -> None:
    """Exporters put weights in model.onnx.data or model.onnx_data."""
    (tmp_path / "a.onnx").write_bytes(linear())
    seen = {spec_of(tmp_path, "a").fingerprint}
    for name in ("a.onnx.data", "a.onnx_data"):
        (tmp_path / name).write_bytes(b"x")
        seen.add(spec_of(tmp_path, "a").fingerprint)
    assert len(seen) == 3
