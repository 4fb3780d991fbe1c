"""Arms of one table answer one question, or the sweep says that they do not: before anything runs."""

import subprocess
import sys
from dataclasses import replace

import pytest

import sweeps
from side4video.core.errors import InputError
from side4video.runs.sweep import sweep_key
from side4video.spec import arm as arms_module
from side4video.spec.comparable import incomparable_arms
from side4video.spec.protocol import find_differences

SHORT = {"kind": "short-side", "pixels": 40}


def tables(*arms, **overrides):
    rows = [{"label": f"arm {number}", "overrides": each} for number, each in enumerate(arms)]
    return {"tables": {"t": {"arms": rows, **({"overrides": overrides} if overrides else {})}}}


def complaint(changes=None, **sweep):
    with pytest.raises(InputError) as caught:
        sweeps.make_sweep("s", changes, **sweep)
    return str(caught.value)


SECRET = {
    # an override that does not name it: the base's changes, the arms, the fields in which they then differ
    "a section that loses its resize": (
        {"data": {"augmentation": {"resize": SHORT}}},
        ({}, {"data.augmentation": {"flip_probability": 0.0}}),
        ["data.augmentation.resize"],
    ),
    "a section with another resize inside": (
        {"data": {"augmentation": {"resize": SHORT}}},
        ({}, {"data.augmentation": {"resize": {"kind": "short-side", "pixels": 48}}}),
        ["data.augmentation.resize"],
    ),
    "a recipe": (
        None,
        ({}, {"data.recipe": "ssv2", "data.repeated_sampling": 1}),
        ["data.sampling", "data.augmentation.resize"],
    ),
    "a section that loses its stride": (
        {"data": {"views": {"clips": 2}, "sampling": {"kind": "dense", "stride": 2}}},
        ({}, {"data.sampling": {"kind": "dense"}}),
        ["data.sampling"],
    ),
    "the views of a whole data section": (
        {"data": {"views": {"clips": 2, "crops": 3}}},
        ({}, {"data.views": {"clips": 2}}),
        ["data.views.crops"],
    ),
    "a precision": ({"evaluation": {"precision": "bf16"}}, ({}, {"evaluation": {"batch_size": 6}}), ["precision"]),
}


@pytest.mark.parametrize("case", SECRET)
def test_a_difference_that_no_column_shows_is_refused(case):
    changes, overrides, fields = SECRET[case]
    lines = complaint(changes, **tables(*overrides)).splitlines()
    assert len(lines) == len(fields)
    for line, field in zip(lines, fields, strict=True):
        assert line.startswith("s.yaml: "), line
        for word in (f"{field}: ", " in t: arm 0; ", " in t: arm 1", "allowed: ", f"{field}]", "changes it through"):
            assert word in line, (word, line)


@pytest.mark.parametrize("case", SECRET)
def test_twin_that_compares_nothing(case, monkeypatch):
    monkeypatch.setattr(arms_module, "incomparable_arms", lambda *_, **__: [])
    changes, overrides, _ = SECRET[case]
    assert len(sweeps.make_sweep("s", changes, **tables(*overrides)).rows) == 2


@pytest.mark.parametrize("case", SECRET)
def test_it_can_be_compared_anyway(case):
    changes, overrides, _ = SECRET[case]
    sweep = sweeps.make_sweep("s", changes, **tables(*overrides), compare_anyway=_fields(changes, overrides))
    assert len(sweep.rows) == 2


def _fields(changes, overrides):
    """Every field in which these arms differ."""
    lines = complaint(changes, **tables(*overrides)).splitlines()
    return [line.partition("s.yaml: ")[2].partition(": ")[0] for line in lines]


SWEPT = {
    "frames": {"grid": {"data.frames": [2, 4]}},
    "views": {"grid": {"data.views.clips": [1, 3], "data.views.crops": [1, 3]}},
    "whole views": {"grid": {"data.views": [{"clips": 1}, {"clips": 1, "crops": 3}]}},
    "sampling": {"grid": {"data.sampling": [{"kind": "segment"}, {"kind": "dense", "stride": 1}]}},
    "training data": {"grid": {"data.train_fraction": [0.5, 1.0]}},
    "resize": {"grid": {"data.augmentation.resize": [{"kind": "relative", "ratio": 1.0}, SHORT]}},
    "size": {"grid": {"data.size": [32]}, "overrides": {"data.frames": 2}},
    "drawn": {"random": {"arms": 4, "space": {"data.frames": {"kind": "choice", "values": [2, 4]}}}},
    "proposed": {"optuna": {"arms": 4, "space": {"data.frames": {"kind": "choice", "values": [2, 4]}}}},
    "an arm of its own": tables({}, {"data.frames": 8}),
    "a table of its own": tables({}, {"method.layers": 1}, **{"data.frames": 8}),
    "a section that says all": tables(
        {"data.views": {"clips": 2, "crops": 3}}, {"data.views": {"clips": 2}}, **{"data.views.crops": 1}
    ),
}


@pytest.mark.parametrize("case", SWEPT)
def test_a_field_that_is_swept_is_a_column_and_may_differ(case):
    sweeps.make_sweep("s", **SWEPT[case])


def test_a_frame_size_that_is_swept_with_the_tower():
    backbones = [{"data.size": 32, "backbone.image_size": 32}, {"data.size": 48, "backbone.image_size": 48}]
    sweep = sweeps.make_sweep("s", **tables(*backbones))
    found = find_differences(arms_module.as_compared_results(sweep.rows))
    assert [(each.field, each.is_hidden) for each in found] == [("data.size", False)]


def test_twin_without_columns_refuses_what_is_swept():
    sweep = sweeps.make_sweep("s", **SWEPT["frames"])
    hidden = [replace(each, shown={}) for each in arms_module.as_compared_results(sweep.rows)]
    (problem,) = incomparable_arms(sweep.spec, sweep.base_experiment, sweep.rows, hidden, source="s.yaml")
    assert "compare_anyway: [data.frames]" in str(problem)


def test_what_only_training_sees_is_free():
    arms = (
        {},
        {"optimization.learning_rate": 1e-5},
        {"method": {"kind": "linear"}},
        {"data.augmentation.crop": {"kind": "centre"}},
    )
    assert len(sweeps.make_sweep("s", **tables(*arms)).rows) == 4


def test_arms_that_are_to_be_proposed_are_looked_at_too():
    values = [{"flip_probability": 0.0}, {"resize": SHORT}]
    space = {"data.augmentation": {"kind": "choice", "values": values}}
    # A whole section is told as it stands, so its column tells the two apart.
    sweeps.make_sweep("s", optuna={"arms": 2, "space": space})
    hidden = {
        "data.recipe": {"kind": "choice", "values": ["custom", "ssv2"]},
        "data.repeated_sampling": {"kind": "choice", "values": [1]},
    }
    assert "data.sampling" in complaint(optuna={"arms": 2, "space": hidden})


def test_data_sets_are_never_compared():
    line = complaint(grid={"data.dataset.seed": [0, 1]}, compare_anyway=["data.dataset"])
    for word in (
        "s.yaml: data.dataset.seed: 0 in",
        "different data sets",
        "allowed: one data set a sweep",
        "fix: write a sweep",
    ):
        assert word in line, line
    space = {"data.dataset.seed": {"kind": "choice", "values": [5]}}
    assert "0 in the base" in complaint(optuna={"arms": 2, "space": space})


def test_a_field_that_is_none_is_refused():
    line = complaint(grid={"method.layers": [1, 2]}, compare_anyway=["data.frame"])
    for word in ("s.yaml: compare_anyway: 'data.frame'", "allowed: ", "data.frames", "eval/videos"):
        assert word in line, line


def test_the_loss_of_another_smoothing_is_another_loss():
    arms = tables({}, {"task": {"kind": "recognition", "dropout": 0.1}})
    changes = {"task": {"label_smoothing": 0.0}}
    assert "task.label_smoothing: 0.0 in t: arm 0; 0.1 in t: arm 1" in complaint(
        changes, **arms, metric="eval/loss", mode="min"
    )
    sweeps.make_sweep("s", changes, **arms)


def test_what_may_be_compared_changes_no_sweep():
    keys = {sweep_key(sweeps.make_sweep("s", compare_anyway=fields)) for fields in ([], ["data.frames"])}
    assert len(keys) == 1


@pytest.mark.parametrize("command", [["validate"], ["plan"], ["sweep", "--local"]], ids=lambda words: words[0])
def test_from_outside(tmp_path, command):
    changes, overrides, _ = SECRET["a section that loses its resize"]
    file = sweeps.as_yaml(tmp_path / "s.yaml", sweeps.document("s", changes, **tables(*overrides)))
    done = subprocess.run(
        [sys.executable, "-m", "side4video", *command, str(file)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "data.augmentation.resize: short side 40 in t: arm 0; short side 37 in t: arm 1" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
