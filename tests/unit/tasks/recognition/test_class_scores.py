"""Scores averaged over views, and each view by itself: against a count by hand, whoever had which row."""

import csv
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from side4video.engine.process_group import ProcessGroup
from side4video.tasks.recognition import class_scores, view_rows
from side4video.tasks.recognition.class_scores import ClassScores
from side4video.tasks.recognition.classification import Classification
from side4video.tasks.recognition.metrics import Scores, label_ranks, recognition_metrics
from side4video.tasks.recognition.view_rows import ViewRows

CLASSES = tuple(f"class {number}" for number in range(7))
TASK = Classification(CLASSES)
CLIPS, CROPS = 4, 3
VIEWS = CLIPS * CROPS


class Outputs:
    """Logits of every view of some videos, in batches whose bounds fall inside a video's views."""

    def __init__(self, videos=23, views=VIEWS, *, classes=7, batch=10, seed=0, missing=()):
        draw = torch.Generator().manual_seed(seed)
        self.videos = videos
        self.labels_V = torch.randint(classes, (videos,), generator=draw)
        self.logits_VWC = torch.randn(videos, views, classes, generator=draw)
        # Ties, among all scores and with the label's own.
        self.logits_VWC[::5] = 0.0
        places = [(video, view) for video in range(videos) for view in range(views) if (video, view) not in missing]
        self.batches = [places[start : start + batch] for start in range(0, len(places), batch)]

    def add_to(self, collector, batches=None):
        for batch in self.batches if batches is None else batches:
            indices_B, views_B = (torch.tensor(column) for column in zip(*batch, strict=True))
            rows = SimpleNamespace(indices_B=indices_B, views_B=views_B)
            collector.add(self.logits_VWC[indices_B, views_B], self.labels_V[indices_B], rows)
        return collector

    def evaluation(self, *, scores=ClassScores, rows=None, **options):
        collector = scores(TASK, videos=self.videos, rows=rows)
        return self.add_to(collector).compute(ProcessGroup(), **options)


def several_workers(outputs, world, rows=ViewRows, **options):
    """The same on so many workers, batch by batch in turn, as the evaluation stream gives them."""
    collectors = [ClassScores(TASK, videos=outputs.videos, rows=rows(block=17)) for _ in range(world)]
    for rank, collector in enumerate(collectors):
        outputs.add_to(collector, outputs.batches[rank::world])
    blocks = [list(collector.rows.blocks()) for collector in collectors]

    class First:
        world = 2
        turn = 0

        def gather(self, value):
            if isinstance(value, class_scores._Sums):
                return [collector.sums for collector in collectors]
            self.turn += 1
            empty = np.empty(0, view_rows.ROW)
            return [each[self.turn - 1] if self.turn <= len(each) else empty for each in blocks]

    return collectors[0].compute(First(), **options)


def table(evaluation):
    return [(view.clip, view.crop, view.videos, view.top1, view.top5) for view in evaluation.per_view]


def rows_of(evaluation, folder):
    evaluation.write_views(folder / "views.csv")
    with (folder / "views.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# ---- each view by itself


def by_hand(outputs):
    """Each view, scored one at a time."""
    found = []
    for view in range(VIEWS):
        scores = TASK.scores(outputs.logits_VWC[:, view]).double().numpy()
        measured = recognition_metrics(Scores(scores, outputs.labels_V.numpy()))
        found.append((view // CROPS, view % CROPS, outputs.videos, measured["top1"], measured["top5"]))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_each_view_is_what_it_is_alone(seed):
    outputs = Outputs(seed=seed)
    assert table(outputs.evaluation(crops=CROPS)) == by_hand(outputs)
    assert len({row[3] for row in by_hand(outputs)}) > 3  # they do differ


class OneView(ClassScores):
    def add_views(self, scores_BC, labels_B, indices_B, views_B):
        super().add_views(scores_BC, labels_B, indices_B, np.zeros_like(views_B))


def test_twin_that_gives_each_view_the_merged_figure():
    outputs = Outputs()
    assert table(outputs.evaluation(scores=OneView, crops=CROPS)) != by_hand(outputs)


def test_twin_that_takes_crops_for_clips():
    outputs = Outputs()
    assert table(outputs.evaluation(crops=CLIPS)) != by_hand(outputs)


def test_names_are_clip_and_crop():
    names = [view.name for view in Outputs().evaluation(crops=CROPS).per_view]
    assert names == [f"view_{clip}_{crop}" for clip in range(CLIPS) for crop in range(CROPS)]


def test_a_view_that_could_not_be_read_counts_in_the_others_alone():
    outputs = Outputs(missing={(3, 5), (4, 5)})
    found = outputs.evaluation(crops=CROPS).per_view
    assert [view.videos for view in found] == [21 if number == 5 else 23 for number in range(VIEWS)]
    kept = [video for video in range(23) if video not in (3, 4)]
    scores = TASK.scores(outputs.logits_VWC[kept, 5]).double().numpy()
    assert found[5].top1 == np.mean(label_ranks(scores, outputs.labels_V[kept].numpy()) < 1)


def test_a_single_view_has_none_beside_it(tmp_path):
    found = Outputs(views=1).evaluation()
    assert found.per_view == ()
    found.write(tmp_path)
    assert "views.csv" not in {file.name for file in tmp_path.iterdir()}


def test_clips_without_a_label_have_no_accuracy():
    outputs = Outputs()
    collector = ClassScores(TASK, videos=outputs.videos)
    batch = SimpleNamespace(indices_B=torch.tensor([0, 0, 1, 1]), views_B=torch.tensor([0, 1, 0, 1]))
    collector.add(outputs.logits_VWC[:4, 0], torch.tensor([-1, -1, 2, 2]), batch)
    assert collector.sums.by_view_W3[:, 0].tolist() == [1, 1]


# ---- what is merged


def before(outputs):
    """What was measured before views were looked at one by one: sums in the order of the rows."""
    sums_VC, views_V = np.zeros((outputs.videos, 7)), np.zeros(outputs.videos)
    loss = 0.0
    for batch in outputs.batches:
        indices, views = (torch.tensor(column) for column in zip(*batch, strict=True))
        logits_BC, labels_B = outputs.logits_VWC[indices, views], outputs.labels_V[indices]
        np.add.at(sums_VC, indices.numpy(), TASK.scores(logits_BC).double().numpy())
        np.add.at(views_V, indices.numpy(), 1)
        loss += float(TASK.loss(logits_BC, labels_B))
    scores_VC = sums_VC / views_V[:, None]
    labels_V = outputs.labels_V.numpy()
    metrics = recognition_metrics(Scores(scores_VC, labels_V))
    return scores_VC.tobytes(), metrics, loss / views_V.sum()


def test_merged_scores_are_bit_by_bit_what_they_were():
    outputs = Outputs()
    found = outputs.evaluation(crops=CROPS)
    assert (found.scores_VC.tobytes(), found.metrics, found.loss) == before(outputs)
    assert found.views == VIEWS


def test_twin_that_sums_in_another_order():
    outputs = Outputs()
    batches = outputs.batches
    outputs.batches = [batch[::-1] for batch in batches[::-1]]
    found = outputs.evaluation(crops=CROPS)
    outputs.batches = batches
    assert (found.scores_VC.tobytes(), found.loss) != (before(outputs)[0], before(outputs)[2])


# ---- any number of workers


@pytest.mark.parametrize("world", [2, 3])
def test_any_number_of_workers_gives_the_same_views(tmp_path, world):
    outputs = Outputs()
    one, several = outputs.evaluation(crops=CROPS), several_workers(outputs, world, crops=CROPS)
    assert table(one) == table(several)
    texts = []
    for name, evaluation in (("one", one), ("several", several)):
        evaluation.write_views(tmp_path / name)
        texts.append((tmp_path / name).read_bytes())
    assert texts[0] == texts[1]


class UnsortedRows(ViewRows):
    def of_view(self, view):
        return np.concatenate([block[block["view"] == view] for block in self.blocks()])


def test_twin_whose_rows_stay_in_the_order_of_the_workers(tmp_path):
    outputs = Outputs()
    one = outputs.evaluation(rows=UnsortedRows(block=17), crops=CROPS)
    rows = [
        rows_of(evaluation, tmp_path)
        for evaluation in (one, several_workers(outputs, 2, rows=UnsortedRows, crops=CROPS))
    ]
    assert rows[0] != rows[1]


# ---- the file


def test_the_file_has_a_row_a_view_and_video(tmp_path):
    outputs = Outputs()
    found = outputs.evaluation(crops=CROPS)
    found.write(tmp_path)
    rows = rows_of(found, tmp_path)
    assert list(rows[0]) == ["clip", "crop", "index", "label", "prediction", "correct", "label_score"]
    places = [(int(row["clip"]), int(row["crop"]), int(row["index"])) for row in rows]
    assert places == [(clip, crop, video) for clip in range(CLIPS) for crop in range(CROPS) for video in range(23)]
    for (clip, crop, video), row in zip(places, rows, strict=True):
        scores = TASK.scores(outputs.logits_VWC[video, clip * CROPS + crop])
        label = int(outputs.labels_V[video])
        assert row["label"] == CLASSES[label]
        assert row["prediction"] == CLASSES[int(scores.double().numpy().argmax())]
        assert row["correct"] == str(int(row["label"] == row["prediction"]))
        assert row["label_score"] == f"{float(scores[label]):.6f}"


# ---- memory


def peak(views, memory_bytes, *, classes=40, videos=1500, batch=500):
    """Bytes at most while rows come in, the batch's own among them."""
    task = Classification(tuple(map(str, range(classes))))
    logits_BC, labels_B = torch.zeros(batch, classes), torch.zeros(batch, dtype=torch.int64)
    tracemalloc.start()
    try:
        collector = ClassScores(task, videos=videos, rows=ViewRows(memory_bytes=memory_bytes))
        for view in range(views):
            for start in range(0, videos, batch):
                rows = SimpleNamespace(
                    indices_B=torch.arange(start, start + batch), views_B=torch.full((batch,), view, dtype=torch.int64)
                )
                collector.add(logits_BC, labels_B, rows)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_views():
    few, many = peak(2, 1 << 12), peak(60, 1 << 12)
    assert many < few + 8192  # its rows would be 1.7 MB


def test_twin_that_keeps_rows_in_memory():
    assert peak(60, 1 << 30) > 1.5 * peak(2, 1 << 30)


def test_rows_survive_the_way_through_a_file():
    rows = ViewRows(memory_bytes=64, block=7)
    for start in range(0, 50, 10):
        indices = np.arange(start, start + 10)
        rows.add(indices, indices % 3, indices + 1, indices / 8)
    read = np.concatenate(list(rows.blocks()))
    assert read["index"].tolist() == list(range(50))
    assert read["prediction"].tolist() == list(range(1, 51))
    assert rows.of_view(2)["label_score"].tolist() == [index / 8 for index in range(50) if index % 3 == 2]
