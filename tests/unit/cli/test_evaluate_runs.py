"""Several runs in one table of `evaluate`: what answers different questions is refused or said."""

from pathlib import Path

import pytest

from side4video.apps.evaluate import models
from side4video.apps.evaluate.models import EvaluatedModel, check_comparable
from side4video.core.errors import InputError
from tiny import DOCUMENT, tiny

BACKBONE = {**DOCUMENT["backbone"], "text": {"kind": "transformer"}}


def chosen(*tasks):
    specs = [tiny(task=task, backbone=BACKBONE) for task in tasks]
    return [EvaluatedModel(f"{number}" * 32, f"run-{number}", spec, Path()) for number, spec in enumerate(specs)]


WORDS = ({"kind": "retrieval"}, {"kind": "retrieval", "words": 16})
SMOOTHING = ({"kind": "recognition"}, {"kind": "recognition", "label_smoothing": 0.3})


def test_other_texts_are_another_question():
    with pytest.raises(InputError) as caught:
        check_comparable(chosen(*WORDS))
    for word in ("runs: task.words: 32 in run-0 (00000000); 16 in run-1 (11111111)", "fix: evaluate them one by one"):
        assert word in str(caught.value)


def test_another_task_is_another_question():
    with pytest.raises(InputError, match=r"runs: task\.kind: "):
        check_comparable(chosen(WORDS[0], SMOOTHING[0]))


def test_twin_that_compares_nothing(monkeypatch):
    monkeypatch.setattr(models, "find_differences", lambda compared, metrics=(): [])
    assert check_comparable(chosen(*WORDS)) == []


def test_another_loss_is_said():
    (note,) = check_comparable(chosen(*SMOOTHING))
    assert note.startswith("eval/loss is not the same loss: task.label_smoothing is 0.1 in run-0")
    assert check_comparable(chosen(*SMOOTHING[:1], *SMOOTHING[:1])) == []
