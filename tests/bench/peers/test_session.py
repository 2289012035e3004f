"""What all server scripts share: their command line, and a model that answers bodies of plain bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.cases import make
from bench.limits.reference import ReferenceModel, WrongAnswer
from bench.peers.running import body_of
from bench.peers.session import Arguments, Bodies


def _arguments(file: Path) -> Arguments:
    words = ["--file", str(file), "--name", "iris", "--shape", "1,4", "--port", "9000"]
    return Arguments.parse([*words, "--settings", '{"instances": 2}'])


def test_arguments_reach_worker_processes_unchanged(tmp_path: Path) -> None:
    """By a variable of the environment."""
    arguments = _arguments(tmp_path / "model.onnx")
    assert Arguments.from_json(arguments.as_json()) == arguments
    assert (arguments.instances, arguments.threads, arguments.shape) == (2, 1, (1, 4))


def test_a_body_is_answered_as_the_model_answers(tmp_path: Path) -> None:
    """One row alone, and rows that were joined for one run."""
    case = make("iris", tmp_path)
    bodies, body = Bodies(_arguments(case.file)), body_of(case)
    answers = [bodies.answer(body), *bodies.answer_rows([bodies.read(body)] * 3)]
    assert len(answers) == 4
    for answer in answers:
        ReferenceModel(case).check_bytes(answer)


def test_an_answer_of_other_bytes_is_refused(tmp_path: Path) -> None:
    """One that is too short, too long, or another model's."""
    case = make("iris", tmp_path)
    answer = Bodies(_arguments(case.file)).answer(body_of(case))
    other = np.frombuffer(answer, np.uint8).copy()
    other[0] ^= 1
    for wrong in (answer[:-1], answer + b"\0", other.tobytes()):
        with pytest.raises(WrongAnswer):
            ReferenceModel(case).check_bytes(wrong)
