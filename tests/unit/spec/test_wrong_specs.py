"""Every kind of mistake in a document is one line: where, what was found, what is allowed, the likely fix."""

import copy

import pytest
import yaml

from side4video.core.errors import InputError
from side4video.spec import load_experiment
from side4video.spec.check import check_files

GOOD = {
    "name": "good",
    "backbone": {
        "kind": "vit",
        "image_size": 32,
        "patch_size": 8,
        "width": 64,
        "layers": 2,
        "weights": {"kind": "random", "seed": 0},
    },
    "method": {"kind": "side4video", "layers": 2, "dim": 64},
    "data": {"dataset": {"kind": "motion"}, "size": 32},
    "optimization": {"batch_size": 8, "length": {"epochs": 2}, "warmup": {"steps": 2}},
}

WRONG = {
    # the path that is changed, its value, words of the line
    "unknown key": ("method.widht", 3, ["method.widht", "unknown key", "allowed: "]),
    "unknown key, near one": ("method.layer", 3, ["did you mean layers?"]),
    "unknown key at the top": ("optimisation", {}, ["unknown key 'optimisation'", "did you mean optimization?"]),
    "unknown key deep": ("data.loader", {"worker": 2}, ["data.loader.worker", "did you mean workers?"]),
    "unknown kind of method": ("method.kind", "side4vidoe", ["unknown kind", "did you mean side4video?", "linear"]),
    "unknown kind of backbone": ("backbone.kind", "resnet", ["unknown kind 'resnet'", "open-clip"]),
    "unknown kind of data set": ("data.dataset.kind", "motoin", ["did you mean motion?"]),
    "no kind": ("method", {"layers": 2}, ["method", "no kind"]),
    "a number for a section": ("method", 3, ["method", "3"]),
    "a text for a section": ("data", "motion", ["data", "a section"]),
    "nothing for a section": ("optimization", None, ["optimization"]),
    "a list for a section": ("cluster", [1], ["cluster"]),
    "wrong type": ("method.layers", "two", ["method.layers", "'two'", "whole number"]),
    "a fraction of a layer": ("method.layers", 1.5, ["method.layers", "1.5", "whole number"]),
    "yes for a number": ("data.frames", "yes", ["data.frames", "'yes'"]),
    "zero layers": ("method.layers", 0, ["method.layers", "greater than 0"]),
    "negative frames": ("data.frames", -8, ["data.frames", "greater than 0"]),
    "dim and heads": ("method.dim", 100, ["dim 100 is not divisible", "multiples of 64", "fix: use 64 or 128"]),
    "a dim below a head": ("method.dim", 32, ["allowed: multiples of 64", "fix: use 64"]),
    "more side layers than blocks": ("method.layers", 9, ["layers 9", "2 blocks", "allowed: 1 to 2"]),
    "a tower trained in half precision": (
        "method",
        {"kind": "full"},
        ["backbone.precision", "bf16, and the method full", "allowed: fp32", "fix: set it to fp32"],
    ),
    "adapters that do not divide": ("method", {"kind": "aim", "reduction": 7}, ["method.reduction", "64", "by 7"]),
    "a side network that does not divide": ("method", {"kind": "lst", "reduction": 7}, ["method.reduction", "by 7"]),
    "a ladder with too many rungs": ("method", {"kind": "lst", "layers": 3}, ["method.layers", "1 to 2, or all"]),
    "a probe's heads": ("method", {"kind": "attentive", "heads": 3}, ["method.heads", "does not divide into 3"]),
    "three adapters over time": ("method", {"kind": "aim", "temporal_adapters": 3}, ["temporal_adapters", "1, 2"]),
    "adapters nowhere": ("method", {"kind": "st-adapter", "positions": "none"}, ["positions", "pre-mlp, both"]),
    "size against layers": ("method.size", "vitb16", ["size vitb16 means 12 layers of 320"]),
    "unknown size": ("method.size", "vitb61", ["method.size", "vitb16"]),
    "unknown choice": ("method.mixing", "sum", ["method.mixing", "'sum'", "add, mean"]),
    "frame size": ("data.size", 224, ["data.size", "224 pixels", "fix: set data.size to 32"]),
    "label smoothing of one": ("task", {"label_smoothing": 1.0}, ["task.label_smoothing", "less than 1"]),
    "two units of length": ("optimization.length", {"epochs": 3, "steps": 4}, ["optimization.length", "one of them"]),
    "no length": ("optimization.length", {"epochs": 0}, ["length is zero"]),
    "warm-up without end": ("optimization.warmup", {"epochs": 5}, ["warmup of 5 epochs is not shorter"]),
    "precision": ("optimization.precision", "fp64", ["optimization.precision", "fp32, bf16, fp16"]),
    "negative rate": ("optimization.learning_rate", -1e-3, ["optimization.learning_rate", "greater than 0"]),
    "a rate in words": ("optimization.learning_rate", "1e-3x", ["optimization.learning_rate", "'1e-3x'"]),
    "three betas": ("optimization.betas", [0.9, 0.98, 0.99], ["optimization.betas"]),
    "a beta of one": ("optimization.betas", [0.9, 1.0], ["optimization.betas.1", "less than 1"]),
    "unknown recipe": ("optimization.recipe", "ssv3-vitb16", ["optimization.recipe", "did you mean ssv"]),
    "average without a kind": ("optimization.average", {"decay": 0.9}, ["optimization.average", "no kind"]),
    "average of one": ("optimization.average", {"kind": "moving-average", "decay": 1.0}, ["less than 1"]),
    "no range of workers": ("cluster", {"workers": [4, 2]}, ["cluster.workers", "[4, 2]", "set it to 4, or to [2, 4]"]),
    "more workers than videos": ("cluster", {"workers": [2, 16]}, ["optimization.batch_size", "2 to 16", "16 or more"]),
    "workers and batch": ("cluster", {"workers": 3}, ["optimization.batch_size", "multiples of 3", "fix: set it to 9"]),
    "no workers": ("cluster", {"workers": 0}, ["cluster.workers", "greater than 0"]),
    "synchronised norms on a CPU": (
        "cluster",
        {"sync_batch_norm": True, "gpus_per_worker": 0},
        ["cluster.sync_batch_norm", "GPUs"],
    ),
    "no weights": ("backbone.weights", None, ["backbone.weights"]),
    "weights of no kind": ("backbone.weights", {"seed": 0}, ["backbone.weights", "no kind"]),
    "weights by bare name": ("backbone.weights", "openai", ["backbone.weights", "a section", "{kind: ...}"]),
    "weights' file": ("backbone.weights", {"kind": "file", "path": "/no/such.safetensors"}, ["/no/such.safetensors"]),
    "unset variable": ("backbone.weights", {"kind": "file", "path": "${S4V_UNSET}/w.pt"}, ["S4V_UNSET", "not set"]),
    "OpenAI's weights and GELU": (
        "backbone",
        {"kind": "open-clip", "model": "ViT-B-16", "weights": {"kind": "pretrained", "tag": "openai"}},
        ["QuickGELU", "ViT-B-16-quickgelu"],
    ),
    "unknown model": (
        "backbone",
        {"kind": "open-clip", "model": "ViT-B-61", "weights": {"kind": "random"}},
        ["backbone.model", "did you mean ViT-B-16"],
    ),
    "motion clips": ("data.dataset.train_clips", 55, ["train_clips 55", "allowed: multiples of 10", "fix: use 60"]),
    "motion twice": ("data.dataset.motions", ["up", "up"], ["data.dataset", "twice"]),
    "unknown motion": ("data.dataset.motions", ["sideways"], ["data.dataset.motions.0", "left"]),
    "crops": ("data.views", {"crops": 2}, ["data.views.crops", "1, 3"]),
    "missing list": ("data.dataset", {"kind": "list", "annotations": "/no/list.csv"}, ["/no/list.csv"]),
    "no list": ("data.dataset", {"kind": "list"}, ["data.dataset.annotations", "missing"]),
    "cap": ("data.broken_clips", {"kind": "skip", "cap": 2}, ["data.broken_clips.cap", "at most 1"]),
    "decoder": ("data.decoder", "ffmpeg", ["data.decoder", "pyav"]),
    "policy": (
        "data.augmentation",
        {"random_augment": {"kind": "rand-augment", "policy": "rand-m99"}},
        ["data.augmentation.random_augment", "rand-m7-n4-mstd0.5-inc1"],
    ),
    "flip chance": ("data.augmentation", {"flip_probability": 1.5}, ["data.augmentation.flip_probability"]),
    "negative seed": ("seed", -1, ["seed", "at least 0"]),
    "a name with a slash": ("name", "a/b", ["name", "'a/b'"]),
    "schema of the future": ("schema_version", 9, ["schema_version", "9", "1"]),
    "tracking by file store": ("tracking", {"uri": "file:///tmp/mlruns"}, ["tracking.uri"]),
}


def changed(path, value):
    document = copy.deepcopy(GOOD)
    place = document
    *above, last = path.split(".")
    for key in above:
        place = place[key]
    place[last] = value
    return document


def complaint(tmp_path, document):
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(document))
    with pytest.raises(InputError) as caught:
        check_files(load_experiment(file))
    return str(caught.value)


def test_the_document_they_are_made_from_is_right(tmp_path):
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(GOOD))
    check_files(load_experiment(file))


def test_there_are_many():
    assert len(WRONG) >= 50


@pytest.mark.parametrize("case", WRONG)
def test_mistake(case, tmp_path):
    path, value, words = WRONG[case]
    line = complaint(tmp_path, changed(path, value))
    assert "\n" not in line, line
    for word in words:
        assert word in line, line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["nothing"]),
        ("- a\n- b\n", ["a list"]),
        ("name: [unclosed\n", ["spec.yaml:"]),
        ("name: a\nname: b\n", ["spec.yaml:2", "given twice"]),
        ("name: a\n\tmethod: b\n", ["spec.yaml:2"]),
        ("name: !!python/object/apply:os.system ['true']\n", ["spec.yaml"]),
        ("1: a\n", ["no text"]),
        ("name: 2024-99-99\n", ["spec.yaml"]),
    ],
)
def test_text_that_is_no_document(text, words, tmp_path):
    file = tmp_path / "spec.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_experiment(file)
    for word in words:
        assert word in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "quickstart.yaml").write_text("name: a")
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    for name, word in (("quikstart.yaml", "did you mean"), ("latin.yaml", "UTF-8"), (".", "not a file")):
        with pytest.raises(InputError, match=word):
            load_experiment(tmp_path / name)


def test_the_line_of_the_file_is_named(tmp_path):
    file = tmp_path / "spec.yaml"
    file.write_text(
        "name: a\nmethod:\n  kind: linear\n  layers: 3\n" + yaml.safe_dump({k: GOOD[k] for k in ("backbone", "data")})
    )
    with pytest.raises(InputError, match=r"spec\.yaml:4: method\.layers: unknown key"):
        load_experiment(file)


def test_several_mistakes_are_a_line_each(tmp_path):
    document = changed("method.widht", 3)
    document["seed"] = -1
    assert len(complaint(tmp_path, document).splitlines()) == 2


@pytest.mark.parametrize("override", ["seed", "=3", "a..b=3", "name.first=x", "seed={"])
def test_wrong_overrides(override, tmp_path):
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(GOOD))
    with pytest.raises(InputError, match="--set"):
        load_experiment(file, [override])
