"""Names of other tools: the field of the same meaning, never the nearest spelling of something else."""

from typing import get_args

import pytest
from pydantic import BaseModel

from side4video.core.errors import InputError
from side4video.spec.arm import load_sweep
from side4video.spec.experiment import Experiment
from side4video.spec.known_names import ABSENT, FIELD_OF_NAME, advice
from side4video.spec.load import load_experiment, parse_experiment
from tiny import DOCUMENT, merged, tiny


def members(annotation):
    """The specs that an annotation may mean."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [each for part in get_args(annotation) for each in members(part)]


def exists(path):
    specs = [Experiment]
    for name in path.split("."):
        fields = [spec.model_fields[name] for spec in specs if name in spec.model_fields]
        if not fields:
            return False
        specs = [each for field in fields for each in members(field.annotation)]
    return True


def test_every_advice_names_a_field_that_exists():
    assert [path for path in set(FIELD_OF_NAME.values()) if not exists(path)] == []
    assert not exists("data.dataset.rot")
    assert not FIELD_OF_NAME.keys() & ABSENT.keys()


@pytest.mark.parametrize(
    ("section", "key", "says"),
    [
        ("", "lr", "fix: write `optimization.learning_rate`"),
        ("optimization", "epochs", "fix: write `optimization.length.epochs`"),
        ("optimization", "early_stopping", "fix: write `evaluation.early_stopping`"),
        ("optimization", "wd", "fix: write `optimization.weight_decay`"),
        ("data", "num_frames", "fix: write `data.frames`"),
        ("data", "img_size", "fix: write `data.size`"),
        ("backbone", "arch", "fix: write `backbone.model`"),
        ("method", "depth", "fix: write `method.layers`"),
        ("cluster", "gpus", "fix: write `cluster.gpus_per_worker`"),
        ("optimization", "learning_rates", "fix: did you mean learning_rate?"),
        ("data", "zebra", "fix: remove it"),
    ],
)
def test_what_people_write(section, key, says):
    changes = {section: {key: 1}} if section else {key: 1}
    with pytest.raises(InputError) as caught:
        parse_experiment(merged(DOCUMENT, changes))
    line = str(caught.value)
    assert f"unknown key '{key}'" in line
    assert line.endswith(says) or says in line


def test_a_method_that_is_none_here_is_not_taken_for_another():
    with pytest.raises(InputError) as caught:
        tiny(method={"kind": "slowfast"})
    assert "did you mean" not in str(caught.value)
    with pytest.raises(InputError, match=r"did you mean side4video\?"):
        tiny(method={"kind": "side-4-video"})


def test_a_field_is_not_advised_to_itself():
    assert advice("gpus_per_worker", [], "cluster") == "remove it"
    assert advice("frames", [], "data") == "remove it"


def test_a_file_of_the_other_kind_names_its_command(tmp_path):
    sweep, experiment = tmp_path / "sweep.yaml", tmp_path / "experiment.yaml"
    experiment.write_text("name: a\nbackbone: {}\nmethod: {}\ndata: {}\n")
    sweep.write_text("name: a\nbase: experiment.yaml\ngrid: {seed: [0, 1]}\n")
    with pytest.raises(InputError, match=rf"it is a sweep, not an experiment.* fix: side4video sweep {sweep}"):
        load_experiment(sweep)
    with pytest.raises(InputError, match=rf"it is an experiment, not a sweep.* fix: side4video run {experiment}"):
        load_sweep(experiment)


def test_a_missing_section_shows_an_example():
    document = {key: value for key, value in DOCUMENT.items() if key != "method"}
    with pytest.raises(InputError, match=r"method: missing .* such as method: \{kind: side4video\}"):
        parse_experiment(document)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"evaluation": {"early_stopping": 3}}, "fix: early_stopping: {patience: ...}"),
        ({"optimization": {"length": 5}}, "fix: length: {epochs: ...}"),
        ({"method": 5}, "fix: method: {kind: ...}"),
    ],
)
def test_a_number_in_place_of_a_section_says_what_the_section_begins_with(changes, says):
    with pytest.raises(InputError) as caught:
        parse_experiment(
            {
                **DOCUMENT,
                **{
                    name: value if name == "method" else {**DOCUMENT.get(name, {}), **value}
                    for name, value in changes.items()
                },
            }
        )
    assert says in str(caught.value)


def test_a_name_deep_in_a_section_is_no_field_of_another():
    with pytest.raises(InputError) as caught:
        parse_experiment(merged(DOCUMENT, {"evaluation": {"early_stopping": {"patience": 3, "epochs": 3}}}))
    assert "unknown key 'epochs'" in str(caught.value)
    assert "optimization" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("data.classes=base", "unknown key 'data' · fix: write"),
        ("data.classes=base", "fix: write `overrides.data.classes`"),
        ("method.dim=64", "fix: write `overrides.method.dim`"),
        ("task={kind: multi-label}", "fix: write `overrides.task.kind`"),
        ("features=1", "fix: write `overrides.features`"),
        ("lr=1", "fix: write `overrides.optimization.learning_rate`"),
        ("refernce=1", "fix: did you mean reference?"),
    ],
)
def test_fields_of_an_experiment_in_a_sweep(tmp_path, override, says):
    file = tmp_path / "sweep.yaml"
    file.write_text("name: s\nbase: base.yaml\ntables: {t: {arms: [{label: a}]}}\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_sweep(file, (override,))
    assert says in str(caught.value)
