"""The demo's rules against magika itself: the same answer for every file."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import wave
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
from magika import Magika

from sardonyx_server.demo import classification, magika_model
from sardonyx_server.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = magika_model.find_model()
PYTHON = b"import os\n\n\ndef main(path):\n    for name in os.listdir(path):\n        print(name)\n\n\nmain('.')\n"
HTML = b"<!doctype html>\n<html><head><title>Stones</title></head><body><p>Sardonyx is banded.</p></body></html>\n"
JSON = json.dumps({"name": "iris", "rows": [[5.1, 3.8, 1.9, 0.4]] * 9, "ready": True}, indent=2).encode()
TEXT = b"Dear all, the meeting on Monday is moved to Tuesday at ten. Bring the figures, please. Thank you!\n"
SHELL = b'#!/bin/sh\nset -eu\nfor file in *.txt; do\n  echo "$file"\n  rm -f -- "$file"\ndone\n'
C_SOURCE = b'#include <stdio.h>\n\nint main(void)\n{\n    printf("%d\\n", 6 * 7);\n    return 0;\n}\n'
SQL = b"SELECT name, COUNT(*) FROM models WHERE version > 1 GROUP BY name ORDER BY name;\n"
MARKDOWN = b"# Title\n\nSome *text* and a [link](https://example.org).\n\n- one\n- two\n\n```sh\nls\n```\n"
NOISE = np.random.default_rng(7).bytes(20_000)


def png() -> bytes:
    """Return a real image, 8 x 8, red."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    pixels = zlib.compress((b"\0" + b"\xff\0\0" * 8) * 8)
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def archive(kind: str) -> bytes:
    """Return a zip or tar file with two small files in it."""
    content = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as bundle:
            bundle.writestr("a.py", PYTHON)
            bundle.writestr("b.txt", TEXT * 20)
    else:
        with tarfile.open(fileobj=content, mode="w") as bundle_:
            entry = tarfile.TarInfo("a.py")
            entry.size = len(PYTHON)
            bundle_.addfile(entry, io.BytesIO(PYTHON))
    return content.getvalue()


def sound() -> bytes:
    """Return a tenth of a second of a tone."""
    content = io.BytesIO()
    with wave.open(content, "wb") as tone:
        tone.setnchannels(1)
        tone.setsampwidth(2)
        tone.setframerate(8000)
        tone.writeframes((np.sin(np.arange(800) / 5) * 9000).astype("<i2").tobytes())
    return content.getvalue()


FILES: dict[str, bytes] = {
    "python": PYTHON,
    "html": HTML,
    "json": JSON,
    "text": TEXT,
    "shell": SHELL,
    "c": C_SOURCE,
    "sql": SQL,
    "markdown": MARKDOWN,
    "csv": b"name,rows,score\n" + b"iris,50,0.96\nwine,60,0.98\n" * 30,
    "xml": b'<?xml version="1.0"?>\n<models><model name="iris"/><model name="wine"/></models>\n',
    "ini": b"[server]\nport = 8001\nhost = 127.0.0.1\n\n[client]\ntimeout = 3\n",
    "png": png(),
    "zip": archive("zip"),
    "tar": archive("tar"),
    "gzip": gzip.compress(TEXT * 50, mtime=0),
    "wav": sound(),
    "elf": Path(sys.executable).read_bytes()[:9000],
    "noise": NOISE,
    "utf-16": ("Grüße aus Jena. " * 30).encode("utf-16"),
    "latin-1": ("Grüße aus Jena, schöne Tage. " * 30).encode("latin-1"),
    "code after 3000 spaces": b" \n\t" * 1000 + PYTHON,
    "code after 9000 spaces": b" \n\t" * 3000 + PYTHON,
    "code before 9000 spaces": PYTHON * 3 + b"\r\n \x0b\x0c" * 1800,
    "beginning like html, end like c": HTML * 60 + C_SOURCE * 60,
    "exactly one block": (PYTHON * 50)[:4096],
    "one byte more than a block": (PYTHON * 50)[:4097],
    "exactly a head": (JSON * 9)[:1024],
    "one byte less than a head": (JSON * 9)[:1023],
    "empty": b"",
    "one byte": b"a",
    "one byte that is no text": b"\xff",
    "seven bytes": b"abcdefg",
    "eight bytes": b"abcdefgh",
    "eight bytes, seven without space": b" abcdefg",
    "eight bytes and space": b" \n abcdefgh \n ",
    "seven bytes and a space after": b"abcdefg ",
    "white space only": b" \n" * 40,
    "9000 bytes of white space": b" " * 9000,
    "spaces, then a character cut by the end of the block": b" " * 4095 + "ü".encode() * 20,
    "zeros": bytes(5000),
    "a few words of no language": b"x = 1 2 3 y",
    "punctuation": b"((((((((((((((((,,,,,,,;;;;;;;;;",
}


@pytest.fixture(scope="module")
def reference() -> Magika:
    """Magika itself."""
    return Magika()


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Callable[[np.ndarray], np.ndarray]:
    """Run one row through the model in the demo's repository."""
    repository = magika_model.make_repository(tmp_path_factory.mktemp("demo") / "repository", MODEL)
    file = repository / magika_model.MODEL_NAME / "1" / "model.onnx"
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda row: session.run([magika_model.OUTPUT], {magika_model.INPUT: row[None]})[0][0]


def answer(path: Path, scores: Callable[[np.ndarray], np.ndarray]) -> classification.Classification:
    """Classify one file as the demo does."""
    prepared = classification.prepare_input(path, MODEL)
    return (
        prepared
        if isinstance(prepared, classification.Classification)
        else classification.classify(scores(prepared), MODEL)
    )


def assert_as_magika(path: Path, reference: Magika, scores: Callable[[np.ndarray], np.ndarray]) -> None:
    """Hold every field of the demo's answer against magika's."""
    got = answer(path, scores)
    want = reference.identify_path(path)
    for field in ("label", "description", "mime_type", "group", "is_text"):
        assert getattr(got.kind, field) == getattr(want.output, field), field
    assert got.score == pytest.approx(want.score, abs=1e-6)
    assert (got.model_label or "undefined") == want.dl.label
    assert bool(got.reason) == (want.prediction.overwrite_reason != "none")


@pytest.mark.parametrize("content", FILES.values(), ids=FILES.keys())
def test_file_is_answered_as_magika_answers(
    content: bytes, tmp_path: Path, reference: Magika, scores: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Kind, score, what the model said and whether a rule changed it are equal."""
    path = tmp_path / "file"
    path.write_bytes(content)
    assert_as_magika(path, reference, scores)


def test_folder_link_and_pipe_are_answered_as_magika_answers(
    tmp_path: Path, reference: Magika, scores: Callable[[np.ndarray], np.ndarray]
) -> None:
    """A folder is a folder, a link is what it leads to, a pipe is not read."""
    (tmp_path / "real.py").write_bytes(PYTHON)
    (tmp_path / "link").symlink_to(tmp_path / "real.py")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "link", tmp_path / "pipe"):
        assert_as_magika(path, reference, scores)


def test_features_are_the_two_ends_with_padding_between() -> None:
    """White space around the content is not seen; a small file is seen twice."""
    row = classification.features(b"\n ab ", b"\n ab ", MODEL)
    assert row.dtype == np.int32
    assert row.shape == (2048,)
    assert row[:4].tolist() == [*b"ab ", 256]
    assert row[2043:].tolist() == [256, *b"\n ab"]


def test_random_bytes_become_unknown() -> None:
    """A label that nobody wants to read is renamed."""
    sure = np.zeros(len(MODEL.labels), np.float32)
    sure[MODEL.labels.index("randombytes")] = 0.9
    got = classification.classify(sure, MODEL)
    assert (got.kind.label, got.model_label, got.reason) == ("unknown", "randombytes", "randombytes counts as unknown")


@pytest.mark.parametrize(
    ("label", "score", "kind", "reason"),
    [
        ("python", 0.5, "python", ""),
        ("python", 0.49, "txt", "python needs a score of 0.5"),
        ("png", 0.49, "unknown", "png needs a score of 0.5"),
        ("markdown", 0.75, "markdown", ""),
        ("markdown", 0.74, "txt", "markdown needs a score of 0.75"),
        ("txt", 0.2, "txt", ""),
    ],
)
def test_unsure_scores_are_answered_by_text_or_unknown(label: str, score: float, kind: str, reason: str) -> None:
    """A score at the threshold is believed, one below it is not; some labels have a threshold of their own."""
    scores = np.zeros(len(MODEL.labels), np.float32)
    scores[MODEL.labels.index(label)] = score
    got = classification.classify(scores, MODEL)
    assert (got.kind.label, got.reason) == (kind, reason)


def test_missing_file_is_named(tmp_path: Path) -> None:
    """The message shows the path as it was given."""
    path = tmp_path / "none"
    with pytest.raises(SettingsError) as raised:
        classification.prepare_input(path, MODEL)
    assert str(raised.value) == f"cannot read '{path}': No such file or directory; expected a file to classify"


def test_repository_holds_a_copy_and_no_link(tmp_path: Path) -> None:
    """The server serves a file of its own, also when it is laid out twice."""
    for _ in range(2):
        assert magika_model.make_repository(tmp_path / "new", MODEL) == tmp_path / "new"
    file = tmp_path / "new" / "magika" / "1" / "model.onnx"
    assert not file.is_symlink()
    assert file.read_bytes() == MODEL.file.read_bytes()


def test_finding_the_model_imports_neither_magika_nor_onnxruntime() -> None:
    """The package's own inference stays out of the process."""
    program = (
        "import sys; from sardonyx_server.demo.magika_model import find_model; find_model(); "
        "sys.exit(bool({'magika', 'onnxruntime'} & set(sys.modules)))"
    )
    path = os.pathsep.join(entry for entry in sys.path if entry)
    assert subprocess.run([sys.executable, "-c", program], check=False, env={"PYTHONPATH": path}).returncode == 0


def test_missing_package_is_answered_with_what_to_install(tmp_path: Path) -> None:
    """The way out is a command to paste."""
    with pytest.raises(SettingsError) as raised:
        magika_model.find_model([str(tmp_path)])
    assert str(raised.value) == (
        "the demo serves the model of the package 'magika', which is not installed: "
        f"{sys.executable} -m pip install 'sardonyx[demo]'"
    )


def test_package_without_the_model_is_answered_with_what_to_install(tmp_path: Path) -> None:
    """Another release of the package may bring another model."""
    (tmp_path / "magika").mkdir()
    (tmp_path / "magika" / "__init__.py").touch()
    with pytest.raises(SettingsError) as raised:
        magika_model.find_model([str(tmp_path)])
    assert str(raised.value) == (
        "the demo expects models/standard_v3_3/model.onnx in the package 'magika'; "
        f"the installed one has none: {sys.executable} -m pip install 'sardonyx[demo]'"
    )


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        ({"mid_size": 512}, r"^the demo expects a model that sees the beginning and the end of a file; the installed"),
        ({"use_inputs_at_offsets": True}, r"has one that sees other parts too: \S+ -m pip install 'sardonyx\[demo\]'$"),
        ({"target_labels_space": None}, r"^the demo cannot read the rules of the model .* \(TypeError: "),
        (None, r"^the demo cannot read the rules of the model in the installed 'magika' \(JSONDecodeError: "),
    ],
)
def test_rules_that_are_not_known_are_refused(tmp_path: Path, change: dict[str, object] | None, pattern: str) -> None:
    """A wrong answer is worse than none."""
    package = MODEL.file.parents[2]
    for part in ("__init__.py", "config", "models"):
        (tmp_path / "magika").mkdir(exist_ok=True)
        copy = shutil.copytree if (package / part).is_dir() else shutil.copyfile
        copy(package / part, tmp_path / "magika" / part)
    file = tmp_path / "magika" / "models" / "standard_v3_3" / "config.min.json"
    file.write_text("" if change is None else json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(SettingsError, match=pattern):
        magika_model.find_model([str(tmp_path)])
