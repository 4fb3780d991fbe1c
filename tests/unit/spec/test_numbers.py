"""Numbers that nobody means: infinities, booleans, lengths without end; and names that look like numbers."""

import pytest

from side4video.core.errors import InputError
from side4video.core.spec import Spec
from side4video.spec import parse_experiment
from side4video.spec.experiment import Experiment
from side4video.spec.load import apply_override, parse_document
from side4video.spec.sweep import SweepSpec
from tiny import DOCUMENT, merged


def refused(*overrides):
    document = parse_experiment(DOCUMENT).resolved()
    for override in overrides:
        apply_override(document, override)
    with pytest.raises(InputError) as caught:
        parse_experiment(document)
    return str(caught.value)


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "1e999"])
@pytest.mark.parametrize(
    "path",
    [
        "optimization.learning_rate",
        "optimization.weight_decay",
        "optimization.length.epochs",
        "cluster.checkpoint_minutes",
        "cluster.gpus_per_worker",
        "data.loader.timeout_seconds",
        "evaluation.every_epochs",
        "backbone.mlp_ratio",
    ],
)
def test_infinities_are_refused(path, value):
    said = refused(f"{path}={value}")
    assert f"spec: {path}: " in said
    assert "\n" not in said


def number_fields(kind, prefix=""):
    """The paths of all fields of numbers of a document and of its nested specs."""
    from side4video.core.number_fields import wants_numbers

    for name, field in type(kind).model_fields.items():
        value = getattr(kind, name)
        if isinstance(value, Spec):
            yield from number_fields(value, f"{prefix}{name}.")
        elif wants_numbers(field.annotation):
            yield f"{prefix}{name}"


FIELDS = tuple(number_fields(parse_experiment(DOCUMENT)))


@pytest.mark.parametrize("path", FIELDS)
def test_a_boolean_is_no_number(path):
    said = refused(f"{path}=yes")
    assert f"{path}: true · allowed: " in said
    assert "\n" not in said


def test_the_fields_are_many():
    assert {"seed", "optimization.batch_size", "data.frames", "method.layers", "cluster.workers"} <= set(FIELDS)


def test_a_boolean_in_a_list_is_no_number():
    assert "optimization.betas.0: true · allowed: a number" in refused("optimization.betas=[true, 0.9]")


def test_booleans_stay_where_they_are_meant():
    document = merged(DOCUMENT, {"method": {**DOCUMENT["method"], "cls_shift": False}})
    assert parse_experiment(document).method.cls_shift is False  # type: ignore[union-attr]
    sweep = {"name": "s", "base": DOCUMENT, "grid": {"method.cls_shift": [True, False]}, "packing": False}
    found = parse_document(SweepSpec, sweep, source="s")
    assert (found.packing, found.grid["method.cls_shift"]) == ("off", (True, False))


@pytest.mark.parametrize("value", ["1e99", "99999999999999999999"])
def test_trainings_have_an_end(value):
    assert "optimization.length.epochs: " in refused(f"optimization.length={{epochs: {value}}}")
    assert "optimization.length.steps: " in refused(f"optimization.length={{steps: {value.replace('1e99', '9' * 30)}}}")


def test_a_field_of_several_forms_has_one_error():
    said = refused("cluster.gpus_per_worker=-1")
    assert said.endswith("cluster.gpus_per_worker: -1 · allowed: a number of at least 0, or auto")
    assert refused("cluster.cpus_per_worker=many").endswith("'many' · allowed: a whole number, or auto")


@pytest.mark.parametrize(
    ("value", "found", "fix"),
    [("2024", "2024", 'name: "2024"'), ("on", "true", "quotes"), ("null", "nothing", "quotes"), ("1e5", "1e5", "")],
)
def test_a_name_that_yaml_takes_for_another_thing(value, found, fix):
    if value == "1e5":
        document = merged(DOCUMENT, {})
        apply_override(document, "name=1e5")
        assert parse_experiment(document).name == "1e5"
        return
    said = refused(f"name={value}")
    assert f"name: {found} · allowed: text · fix: " in said
    assert fix in said


def test_the_schema_is_as_before():
    """What refuses booleans is no part of the schema that editors read."""
    assert Experiment.model_json_schema()["properties"]["seed"]["type"] == "integer"
