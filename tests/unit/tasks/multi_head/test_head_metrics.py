"""Ranks of combinations against a look at all of them; recall; and the same from any number of workers."""

import csv
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import label_statement as statement
from side4video.core.errors import InputError
from side4video.tasks.metrics import metric_title
from side4video.tasks.multi_head.head_scores import HeadScoresCollector
from side4video.tasks.multi_head.metrics import FIRST, HeadScores, action_ranks, head_metrics, mean_class_recall
from side4video.tasks.multi_head.multi_head import HeadClassifiers, MultiHead

HEADS = {"verb": ("take", "put", "wash"), "noun": ("cup", "plate", "=knife", "pan")}
TASK = MultiHead(HEADS, label_smoothing=0.1)


def draws(sizes, seeds):
    for seed in range(seeds):
        rng = np.random.default_rng([*sizes, seed])
        scores = [rng.integers(0, 4, (6, size)) / 4 if seed % 2 else rng.dirichlet(np.ones(size), 6) for size in sizes]
        labels = np.stack([rng.integers(0, size, 6) for size in sizes], axis=1)
        yield scores, labels


@pytest.mark.parametrize("sizes", [(1,), (3,), (2, 2), (9, 11), (3, 5, 7)])
def test_ranks_are_those_of_all_combinations(sizes):
    for scores, labels in draws(sizes, 40):
        found = action_ranks(scores, labels)
        for number in range(6):
            rank = statement.action_rank([each[number] for each in scores], labels[number])
            assert found[number] == min(rank, FIRST)


def test_twin_that_looks_at_too_few_combinations():
    """With the two highest scores of each head alone, some that are better than the labels' are not seen."""
    wrong = 0
    for scores, labels in draws((9, 11), 40):
        cut = [-np.sort(-each, axis=1)[:, :2] for each in scores]
        products = (cut[0][:, :, None] * cut[1][:, None, :]).reshape(6, -1)
        own = np.prod([each[np.arange(6), labels[:, number]] for number, each in enumerate(scores)], axis=0)
        wrong += (np.minimum((products >= own[:, None]).sum(axis=1) - 1, FIRST) != action_ranks(scores, labels)).any()
    assert wrong > 10


def test_ties_and_no_numbers_count_against_a_model():
    scores = [np.full((1, 3), 1 / 3), np.full((1, 4), 0.25)]
    assert action_ranks(scores, np.zeros((1, 2), np.int64)).tolist() == [FIRST]
    scores[0][0, 0] = np.nan
    assert action_ranks(scores, np.zeros((1, 2), np.int64)).tolist() == [FIRST]


def test_recall_is_the_mean_over_classes_that_occur():
    ranks, labels = np.array([0, 4, 5, 9, 0]), np.array([7, 7, 7, 2, 2])
    assert mean_class_recall(ranks, labels) == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_metrics_by_hand():
    verbs = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3]])
    nouns = np.array([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]])
    found = head_metrics(HeadScores((verbs, nouns), np.array([[0, 3], [2, 0]])), tuple(HEADS))
    assert (found["verb_top1"], found["noun_top1"], found["action_top1"]) == (0.5, 1.0, 0.5)
    assert found["action_top5"] == found["action_class_recall5"] == found["verb_class_recall5"] == 1.0
    assert next(iter(found)) == TASK.main_metric.name
    assert all(
        map(math.isnan, head_metrics(HeadScores((verbs[:0], nouns[:0]), np.zeros((0, 2), int)), ("a", "b")).values())
    )
    assert metric_title("eval/verb_class_recall5") == "verb mean class recall@5"
    assert metric_title("best/noun_top1") == "noun top-1 of the best epoch"


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_the_sum_over_heads(smoothing):
    task = MultiHead(HEADS, label_smoothing=smoothing)
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(5, 7)) * 3, np.array([[0, 3], [1, -1], [2, 0], [-1, -1], [0, 1]])
    tensor = torch.tensor(logits, dtype=torch.float32, requires_grad=True)
    loss = task.loss(tensor, torch.tensor(labels))
    loss.backward()

    def stated(each):
        return statement.head_loss(each, (3, 4), labels, smoothing=smoothing)

    assert float(loss.detach()) == pytest.approx(stated(logits), rel=1e-6)
    expected = torch.tensor(statement.gradient(stated, logits), dtype=torch.float32)
    assert torch.allclose(tensor.grad, expected, rtol=1e-3, atol=1e-5)


def test_the_classifiers_have_names_and_share_the_dropout():
    head = HeadClassifiers(8, {"train": 3, "keys": 4}, dropout=0.5)
    assert sorted(head.state_dict()) == sorted(
        f"{name}_classifier.{part}" for name in ("train", "keys") for part in ("weight", "bias")
    )
    assert head(torch.randn(2, 8)).shape == (2, 7)
    with pytest.raises(InputError, match="no labels of several heads"):
        MultiHead({})
    with pytest.raises(InputError, match="a head is called action, as are the metrics of all heads together"):
        MultiHead({"action": ("run",), "noun": ("cup",)})


def evaluations():
    draw = torch.Generator().manual_seed(2)
    logits_VWC = torch.randn(19, 4, 7, generator=draw) * torch.logspace(-2, 1.3, 19).reshape(-1, 1, 1)
    labels_VS = torch.stack([torch.randint(3, (19,), generator=draw), torch.randint(4, (19,), generator=draw)], dim=1)
    places = [(video, view) for video in range(19) for view in range(4) if video != 5]
    batches = [places[start : start + 3] for start in range(0, len(places), 3)]
    for world in (1, 2, 3):
        parts = [HeadScoresCollector(TASK, videos=19) for _ in range(world)]
        for number, batch in enumerate(batches):
            indices_B, views_B = (torch.tensor(column) for column in zip(*batch, strict=True))
            parts[number % world].add(
                logits_VWC[indices_B, views_B], labels_VS[indices_B], SimpleNamespace(indices_B=indices_B)
            )
        yield parts[0].compute(SimpleNamespace(gather=lambda _, parts=parts: [part.sums for part in parts]))


def test_any_number_of_workers_gives_the_same_to_the_last_bit(tmp_path):
    one, *others = evaluations()
    for other in others:
        assert one.found.scores_VC.tobytes() == other.found.scores_VC.tobytes()
        assert (one.metrics, one.loss) == (other.metrics, other.loss)
    assert one.videos == 18
    assert np.allclose(one.found.scores_VC.sum(axis=1), 2)
    one.write(tmp_path)
    one.write_predictions(tmp_path / "more.csv", [f"{number}.mp4" for number in range(19)])
    with (tmp_path / "more.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[5]["video"] == "6.mp4"
    for row in rows:
        assert row["correct"] == str(int(all(row[f"{head} label"] == row[f"{head} prediction"] for head in HEADS)))
    assert sum(row["correct"] == "1" for row in rows) / 18 == pytest.approx(one.metrics["action_top1"])
    assert json.loads((tmp_path / "head_classes.json").read_text())["noun"] == list(HEADS["noun"])
