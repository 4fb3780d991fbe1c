"""Views of real clips: each by itself is what an evaluation of that view alone gives; metrics, artifact and command."""

import functools
import json

import pytest
from click.testing import CliRunner

from side4video.cli.evaluate import evaluate as evaluate_command
from side4video.core.progress import SILENT
from side4video.data.streams.loader import EvaluationStream
from side4video.engine.evaluate import evaluate
from side4video.engine.pack import Pack
from side4video.engine.process_group import ProcessGroup
from side4video.models.frozen_features import features_of_batch
from side4video.run import build_student
from side4video.runs.launch import launch
from side4video.tracking.mlflow.store import MLflowStore
from tiny import tiny

CLIPS, CROPS = 2, 3
VIEWS = {"views": {"clips": CLIPS, "crops": CROPS}}


class OneView:
    """Of a stream's batches only the rows of one view, as if a video had no other."""

    def __init__(self, stream, view):
        self.stream, self.view = stream, view

    def batches(self):
        for batch in self.stream.batches():
            keep = batch.views_B == self.view
            if keep.any():
                batch.video_BTCHW, batch.labels_B = batch.video_BTCHW[keep], batch.labels_B[keep]
                batch.indices_B, batch.views_B = batch.indices_B[keep], batch.views_B[keep] * 0
                yield batch


def test_each_view_is_what_an_evaluation_of_it_alone_gives():
    spec = tiny(data=VIEWS)
    process = ProcessGroup()
    spec.data.dataset.prepare()
    tower = spec.backbone.build("cpu")
    student = build_student("a", spec, process, tower)
    pack = Pack.of_one_tower(functools.partial(features_of_batch, tower), [student])
    clips = spec.data.dataset.clips("test")

    def measured(view=None):
        stream = EvaluationStream(spec.data, clips, batch_size=6)
        try:
            batches = stream if view is None else OneView(stream, view)
            return evaluate(pack, [student], batches, videos=len(clips), crops=CROPS)["a"]
        finally:
            stream.close()

    whole = measured()
    places = [(view // CROPS, view % CROPS) for view in range(CLIPS * CROPS)]
    assert [(each.clip, each.crop) for each in whole.per_view] == places
    for number, each in enumerate(whole.per_view):
        alone = measured(number)
        assert alone.per_view == ()
        assert (each.top1, each.top5) == (alone.metrics["top1"], alone.metrics["top5"])
        assert each.videos == alone.videos == len(clips)


@pytest.fixture(scope="module")
def finished():
    return launch({"viewed": tiny(seed=31, data=VIEWS)}, progress=SILENT)["viewed"]


def test_a_run_records_each_view(finished, tmp_path):
    names = {f"eval/view_{clip}_{crop}/top1" for clip in range(CLIPS) for crop in range(CROPS)}
    store = MLflowStore().prepare()
    stored = store.get(finished.run_id).metrics
    assert names == {name for name in stored if "view_" in name}
    assert len(store.history(finished.run_id, "eval/view_1_2/top1")) == 2  # one an evaluation
    rows = store.download(finished.run_id, "views.csv", tmp_path).read_text().splitlines()
    assert len(rows) == 1 + CLIPS * CROPS * 20
    right = [row.split(",")[5] for row in rows if row.startswith("1,2,")]
    assert stored["eval/view_1_2/top1"] == pytest.approx(right.count("1") / 20)


def test_the_command_tells_each_view(finished, tmp_path):
    answer = invoke(finished.run_id, "--json", "--weights", "last", "--predictions", str(tmp_path / "said.csv"))
    answer = json.loads(answer)
    assert answer["views"] == CLIPS * CROPS
    assert [(each["clip"], each["crop"]) for each in answer["per_view"]] == [(v // 3, v % 3) for v in range(6)]
    for each in answer["per_view"]:
        name = f"eval/view_{each['clip']}_{each['crop']}/top1"
        assert each["top1"] == answer["metrics"][name] == finished.metrics[name]
    assert answer["metrics"]["eval/top1"] == finished.metrics["eval/top1"]
    assert len((tmp_path / "said.csv").read_text().splitlines()) == 21
    assert len((tmp_path / "said-views.csv").read_text().splitlines()) == 121


def test_the_table_has_a_row_a_view(finished):
    lines = [line.split() for line in invoke(finished.run_id).splitlines()]
    start = lines.index(["clip", "crop", "top-1", "top-5"])
    assert [line[:2] for line in lines[start + 1 : start + 7]] == [[str(v // 3), str(v % 3)] for v in range(6)]
    assert not any("view_" in word for line in lines for word in line)


def test_one_view_has_no_table(finished):
    said = invoke(finished.run_id, "--set", "data.views={clips: 1}")
    assert "crop" not in said
    assert json.loads(invoke(finished.run_id, "--json", "--set", "data.views={clips: 1}"))["per_view"] == []


def test_several_runs_side_by_side(finished):
    other = launch({"other": tiny(seed=32, data=VIEWS, task={"label_smoothing": 0.0})}, progress=SILENT)
    ids = [finished.run_id, other["other"].run_id]
    said = invoke(*ids)
    assert f"clip  crop  {ids[0][:8]}  {ids[1][:8]}" in said
    assert "eval/loss is not the same loss: task.label_smoothing is 0.1 in" in " ".join(said.split())


def invoke(*arguments):
    done = CliRunner().invoke(evaluate_command, list(arguments))
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout
