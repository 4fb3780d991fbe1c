"""CLIP's zero-shot classes against an independent float64 statement, and the command that makes such a run."""

import csv
import json

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from torch.nn import functional as F

import clip_statement
import clip_text_statement
from side4video.cli.zero_shot import zero_shot
from side4video.core.dotted import dotted
from side4video.core.errors import InputError
from side4video.core.progress import SILENT
from side4video.data.streams.loader import EvaluationStream
from side4video.engine.process_group import ProcessGroup
from side4video.models.frozen_features import features_of_batch
from side4video.models.networks import pair as network_module
from side4video.models.towers.tokenizer import TextTokenizer
from side4video.run import build_student
from side4video.runs.launch import launch
from side4video.spec.load import apply_override, parse_experiment
from side4video.spec.protocol import ComparedResult, find_differences
from side4video.spec.zero_shot import PROMPT, zero_shot_experiment
from side4video.tracking.mlflow.store import MLflowStore
from tiny import DOCUMENT, merged, tiny

CLIP = {"text": {"kind": "transformer", "width": 16, "layers": 2, "head_width": 8}, "output_dim": 24}
QUICK = {"quick_gelu": True}


def clip_run(**changes):
    return tiny(name="learned", **merged({"backbone": CLIP | QUICK, "method": {"kind": "linear"}}, changes))


def zero_shot_run(**changes):
    return zero_shot_experiment(clip_run(**changes), source="spec")


def double(module):
    return {name: tensor.detach().double() for name, tensor in module.state_dict().items()}


def statement(spec, frames_BTCHW, prompt=PROMPT):
    """Logits [B, C] in float64, from the towers' weights, frame by frame and word by word."""
    tower, text = spec.backbone.build("cpu"), spec.backbone.build_text_tower("cpu")
    pixels = frames_BTCHW.double() / 255
    mean, std = (torch.tensor(values).double().view(3, 1, 1) for values in (tower.shape.mean, tower.shape.std))
    state, words = double(tower.trunk.visual), double(text.transformer)
    sizes = {"depth": tower.shape.depth, "heads": tower.shape.heads, "quick": True}
    cosines = []
    names = [prompt.replace("{}", name) for name in spec.data.dataset.classes()]
    tokens_CW = TextTokenizer({})(names, words=77)
    ends = tokens_CW.argmax(-1)
    short = tokens_CW[:, : int(ends.max()) + 1]  # what stands behind the end is seen by nothing before it
    sentences = clip_text_statement.full(short, words, depth=text.depth, heads=text.heads, quick=True)
    texts_CE = torch.stack([rows[end] for rows, end in zip(sentences, ends, strict=True)])
    texts_CE = texts_CE / texts_CE.norm(dim=-1, keepdim=True)
    for frame in range(frames_BTCHW.shape[1]):
        one = ((pixels - mean) / std)[:, frame : frame + 1]
        features_BE = clip_statement.full(one, state, **sizes) @ state["proj"]
        cosines.append(features_BE / features_BE.norm(dim=-1, keepdim=True))
    mean_BE = sum(cosines) / len(cosines)
    mean_BE = mean_BE / mean_BE.norm(dim=-1, keepdim=True)
    return mean_BE @ texts_CE.T * text.logit_scale.double().exp()


def frames_of(clips=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (clips, 4, 3, 32, 32), dtype=torch.uint8, generator=generator)


class _Batch:
    stored = None

    def __init__(self, video_BTCHW):
        self.video_BTCHW = video_BTCHW


def logits_of(spec, video):
    tower = spec.backbone.build("cpu")
    student = build_student("a", spec, ProcessGroup(), tower)
    assert student.trainable_parameters == 0
    student.module.eval()
    with torch.no_grad():
        return student.module(features_of_batch(tower, _Batch(video), student.reads))


def off(found, expected):
    """Largest difference of logits, less what is the same for all classes, relative to their spread."""
    found, expected = (each.double() - each.double().mean(1, keepdim=True) for each in (found, expected))
    return float((found - expected).abs().max() / expected.abs().max())


def test_logits_equal_the_statement():
    spec, video = zero_shot_run(), frames_of()
    expected = statement(spec, video)
    assert off(logits_of(spec, video), expected) < 1e-4
    assert (logits_of(spec, video).double() - expected).abs().max() < 1e-4 * expected.abs().max()


def first_frame(self, features):
    return F.normalize(self.frames(features).float(), dim=-1)[:, 0]


def raw_mean(self, features):
    """Long features count more than short ones."""
    return self.frames(features).float().mean(dim=1)


@pytest.mark.parametrize("twin", [first_frame, raw_mean])
def test_other_means_over_frames_are_noticed(twin, monkeypatch):
    spec, video = zero_shot_run(), frames_of()
    video[:, 0] //= 8  # frames whose features have different lengths
    monkeypatch.setattr(network_module.FrozenMean, "forward", twin)
    assert off(logits_of(spec, video), statement(spec, video)) > 1e-3


def test_another_prompt_is_noticed():
    spec, video = zero_shot_run(), frames_of()
    assert off(logits_of(spec, video), statement(spec, video, "{}")) > 1e-2


CHANGED = {
    "plain": {},
    "side network": {"method": {"kind": "side4video", "layers": 2, "dim": 64}, "task": {"label_smoothing": 0.0}},
    "views, sampling and fraction": {
        "data": {"views": {"clips": 2, "crops": 3}, "sampling": {"kind": "segment"}, "train_fraction": 0.5},
    },
    "mixed, repeated, dropout": {
        "data": {"augmentation": {"mix": {"kind": "mixup"}}, "repeated_sampling": 2},
        "task": {"dropout": 0.5},
    },
    "several workers and parts": {"cluster": {"workers": 2}, "optimization": {"accumulation": 2}},
    "kept features": {"features": {"kind": "cached", "views": 2}},
    "precision": {"evaluation": {"precision": "bf16", "every_epochs": 2}},
}


@pytest.mark.parametrize("case", CHANGED)
def test_it_may_stand_in_one_table_with_the_run(case):
    spec = clip_run(**CHANGED[case])
    made = zero_shot_experiment(spec, source="spec")
    both = [ComparedResult(each.name, dotted(each.resolved())) for each in (spec, made)]
    assert find_differences(both, metrics=["eval/top1"]) == []
    assert made.backbone == spec.backbone
    assert made.data.dataset == spec.data.dataset
    assert (made.name, made.method.kind) == ("learned-zero-shot", "zero-shot")
    assert made.task.classifier.prompt == PROMPT


def test_a_protocol_that_is_changed_on_the_way_is_noticed():
    spec = clip_run()
    document = zero_shot_experiment(spec, source="spec").resolved()
    apply_override(document, "data.views.clips=2")
    both = [
        ComparedResult("a", dotted(spec.resolved())),
        ComparedResult("b", dotted(parse_experiment(document).resolved())),
    ]
    assert [each.field for each in find_differences(both, metrics=["eval/top1"])] == ["data.views.clips"]


def test_long_names_stay_names():
    spec = clip_run().model_copy(update={"name": "a" * 80})
    assert zero_shot_experiment(spec, source="spec").name == "a" * 70 + "-zero-shot"


def test_what_it_cannot_be_made_of_is_refused():
    with pytest.raises(InputError, match=r"run 1: backbone: vit without a text tower.*allowed: kind: open-clip"):
        zero_shot_experiment(tiny(), source="run 1")
    retrieval = clip_run(task={"kind": "retrieval", "words": 16}, method={"kind": "zero-shot"})
    with pytest.raises(InputError, match=r"task.kind: retrieval · allowed: recognition"):
        zero_shot_experiment(retrieval, source="run 1")
    with pytest.raises(InputError, match="no one place for the name"):
        zero_shot_experiment(clip_run(), prompt="a photo", source="run 1")


def test_a_classifier_that_nobody_trains_is_refused():
    with pytest.raises(InputError, match=r"task.classifier: linear, and the method zero-shot classifies with texts"):
        clip_run(method={"kind": "zero-shot"})


# ---- the command


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIDE4VIDEO_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield


@pytest.fixture(scope="module")
def learned(home):
    spec = clip_run(data={"views": {"clips": 2}}, optimization={"length": {"epochs": 1}})
    return spec, launch({spec.name: spec}, progress=SILENT)[spec.name]


def invoke(*arguments):
    done = CliRunner().invoke(zero_shot, [str(each) for each in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture(scope="module")
def made(learned):
    _, run = learned
    return json.loads(invoke(run.run_id[:8], "--json").stdout)


def rows_of(run_id, folder):
    file = MLflowStore().prepare().download(run_id, "predictions.csv", folder)
    return list(csv.DictReader(file.read_text().splitlines()))


def test_predictions_are_those_of_the_statement_on_the_runs_own_clips(learned, made, tmp_path):
    spec, run = learned
    clips = spec.data.dataset.clips("test")
    stream = EvaluationStream(spec.data, clips, batch_size=6)
    scores = np.zeros((len(clips), len(spec.data.dataset.classes())))
    for batch in stream.batches():
        found = statement(spec, batch.video_BTCHW).softmax(-1).numpy() / 2
        np.add.at(scores, batch.indices_B.numpy(), found)
    stream.close()
    theirs, ours = rows_of(run.run_id, tmp_path / "a"), rows_of(made["run_id"], tmp_path / "b")
    assert [(row["index"], row["label"]) for row in ours] == [(row["index"], row["label"]) for row in theirs]
    names = spec.data.dataset.classes()
    # Two classes that are nearly alike may change places by rounding.
    sure = np.sort(scores)[:, -1] - np.sort(scores)[:, -2] > 1e-5
    assert sure.sum() > len(sure) // 2
    expected = [names[best] for best in scores.argmax(1)]
    assert [row["prediction"] for row, is_sure in zip(ours, sure, strict=True) if is_sure] == [
        name for name, is_sure in zip(expected, sure, strict=True) if is_sure
    ]
    assert np.allclose([float(row["score"]) for row in ours], scores.max(1), atol=2e-5)
    right = [row["prediction"] == row["label"] for row in ours]
    assert made["metrics"]["eval/top1"] == pytest.approx(np.mean(right))


def test_the_record_has_each_class_and_the_runs_protocol(learned, made, tmp_path):
    store = MLflowStore().prepare()
    record, run = store.get(made["run_id"]), store.get(learned[1].run_id)
    accuracy = json.loads(store.download(made["run_id"], "class_accuracy.json", tmp_path).read_text())
    assert set(accuracy) == set(learned[0].data.dataset.classes())
    for tag in ("protocol", "dataset_fingerprint", "backbone_sha256", "side4video.weights"):
        assert record.tags[tag] == run.tags[tag]
    assert record.metrics["model/trainable_parameters"] == 0
    assert made["name"] == "learned-zero-shot"


def test_the_same_again_is_taken_from_the_store(learned, made):
    again = json.loads(invoke(learned[1].run_id, "--json").stdout)
    assert again["run_id"] == made["run_id"]
    assert again["metrics"]["eval/top1"] == made["metrics"]["eval/top1"]
    assert "From the store" in invoke(learned[1].run_id).stdout
    other = json.loads(invoke(learned[1].run_id, "--prompt", "{}", "--json").stdout)
    assert other["run_id"] != made["run_id"]


def test_a_spec_that_never_ran_will_do(learned, made, tmp_path):
    document = merged(DOCUMENT, {"name": "learned", "backbone": CLIP | QUICK, "data": {"views": {"clips": 2}}})
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(document))
    again = json.loads(invoke(tmp_path / "spec.yaml", "--json", "--rerun").stdout)
    assert again["run_id"] != made["run_id"]
    assert again["metrics"]["eval/top1"] == made["metrics"]["eval/top1"]
    assert again["metrics"]["eval/loss"] == pytest.approx(made["metrics"]["eval/loss"], rel=1e-6)
