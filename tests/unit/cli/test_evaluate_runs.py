"""Several runs in one table of `evaluate`: what answers different questions is refused or said."""

from pathlib import Path

import pytest

from side4video.cli import evaluate
from side4video.cli.evaluate import _check_comparable, _Chosen
from side4video.core.errors import InputError
from tiny import DOCUMENT, tiny

BACKBONE = {**DOCUMENT["backbone"], "text": {"kind": "transformer"}}


def chosen(*tasks):
    specs = [tiny(task=task, backbone=BACKBONE) for task in tasks]
    return [_Chosen(f"{number}" * 32, f"run-{number}", spec, Path()) for number, spec in enumerate(specs)]


WORDS = ({"kind": "retrieval"}, {"kind": "retrieval", "words": 16})
SMOOTHING = ({"kind": "recognition"}, {"kind": "recognition", "label_smoothing": 0.3})


def test_other_texts_are_another_question():
    with pytest.raises(InputError) as caught:
        _check_comparable(chosen(*WORDS))
    for word in ("runs: task.words: 32 in run-0 (00000000); 16 in run-1 (11111111)", "fix: evaluate them one by one"):
        assert word in str(caught.value)


def test_another_task_is_another_question():
    with pytest.raises(InputError, match=r"runs: task\.kind: "):
        _check_comparable(chosen(WORDS[0], SMOOTHING[0]))


def test_twin_that_compares_nothing(monkeypatch):
    monkeypatch.setattr(evaluate, "find_differences", lambda compared, metrics=(): [])
    assert _check_comparable(chosen(*WORDS)) == []


def test_another_loss_is_said():
    (note,) = _check_comparable(chosen(*SMOOTHING))
    assert note.startswith("eval/loss is not the same loss: task.label_smoothing is 0.1 in run-0")
    assert _check_comparable(chosen(*SMOOTHING[:1], *SMOOTHING[:1])) == []
