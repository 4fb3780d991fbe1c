"""The document: defaults, presets, resolved form, hash."""

import copy
import json

import pytest

from side4video.cli.schema import experiment_schema
from side4video.data.spec import DataSpec
from side4video.spec import Experiment, parse_experiment

DOCUMENT = {
    "backbone": {
        "kind": "open-clip",
        "model": "ViT-B-16-quickgelu",
        "weights": {"kind": "pretrained", "tag": "openai"},
    },
    "method": {"kind": "side4video"},
    "data": {"dataset": {"kind": "motion"}},
}


def experiment(**changes):
    return parse_experiment({**copy.deepcopy(DOCUMENT), **changes})


def test_defaults_are_the_papers():
    spec = experiment()
    assert (spec.method.layers, spec.method.dim, spec.method.mixing, spec.data.frames) == (12, 320, "add", 8)
    assert (spec.optimization.weight_decay, spec.optimization.betas) == (0.15, (0.9, 0.999))
    assert spec.task.label_smoothing == 0.1


def test_presets_set_what_is_not_given_and_show_it():
    spec = experiment(method={"kind": "side4video", "size": "vitb16-light", "preset": "authors"})
    assert (spec.method.layers, spec.method.dim, spec.method.mixing) == (6, 192, "mean")
    assert spec.resolved()["method"]["dim"] == 192
    assert experiment(method={"kind": "side4video", "preset": "authors", "mixing": "add"}).method.mixing == "add"
    recipe = experiment(optimization={"recipe": "ssv1-vite14", "batch_size": 32}).optimization
    assert (recipe.learning_rate, recipe.batch_size, recipe.length.epochs, recipe.warmup.epochs) == (1e-4, 32, 30, 6)


@pytest.mark.parametrize(
    ("recipe", "resize"),
    [
        ("k400", {"kind": "short-side", "pixels": 37}),
        ("retrieval", {"kind": "short-side", "pixels": 32}),
        ("ssv2", {"kind": "exact", "height": 37, "width": 46}),
    ],
)
def test_recipes_resize_for_the_size(recipe, resize):
    """At 32 pixels the model would see 2% of a frame that is resized to 256."""
    motion = {"kind": "motion"}
    assert DataSpec(dataset=motion, recipe=recipe, size=32).augmentation.resize.model_dump() == resize
    whole = DataSpec(dataset=motion, recipe=recipe).augmentation.resize
    assert whole.short_side(224) in (224, 256)
    larger = DataSpec(dataset=motion, recipe=recipe, size=336).augmentation.resize
    assert larger.short_side(336) == -(-whole.short_side(224) * 336 // 224)


def test_data_recipes_are_table_12s():
    ssv2 = experiment(data={"dataset": {"kind": "motion"}, "recipe": "ssv2"}).data
    assert ssv2.repeated_sampling == 2
    assert ssv2.augmentation.random_augment.policy == "rand-m7-n4-mstd0.5-inc1"
    assert ssv2.augmentation.grayscale_probability == 0.0
    k400 = experiment(data={"dataset": {"kind": "motion"}, "recipe": "k400"}).data
    assert (k400.repeated_sampling, k400.augmentation.grayscale_probability) == (1, 0.2)
    assert k400.augmentation.random_augment.kind == "none"
    assert k400.augmentation.flip_probability == ssv2.augmentation.flip_probability == 0.5
    largest = experiment(data={"dataset": {"kind": "motion"}, "recipe": "k400-vite14"}).data
    assert largest.augmentation.random_augment.kind == "rand-augment"
    changed = experiment(data={"dataset": {"kind": "motion"}, "recipe": "ssv2", "repeated_sampling": 1}).data
    assert changed.repeated_sampling == 1


def test_resolved_document_reads_back_as_itself():
    spec = experiment(method={"kind": "side4video", "size": "vitb16"}, optimization={"recipe": "k400-vitb16"})
    again = parse_experiment(json.loads(json.dumps(spec.resolved())))
    assert again == spec
    assert again.digest() == spec.digest()


def test_hash_knows_what_changes_a_result_and_what_does_not():
    base = experiment()
    same = [
        experiment(name="other"),
        experiment(tracking={"experiment": "elsewhere"}),
        experiment(cluster={"cpus_per_worker": 3, "max_failures": 5}),
        experiment(method={"kind": "side4video", "size": "vitb16"}),
        experiment(data={"dataset": {"kind": "motion"}, "loader": {"workers": 7}}),
    ]
    assert {spec.digest() for spec in same} == {base.digest()}
    other = [
        experiment(seed=1),
        experiment(cluster={"workers": 2}),
        experiment(method={"kind": "linear"}),
        experiment(method={"kind": "side4video", "preset": "authors"}),
        experiment(data={"dataset": {"kind": "motion", "seed": 1}}),
        experiment(optimization={"learning_rate": 1e-4}),
        experiment(evaluation={"precision": "bf16"}),
    ]
    assert len({base.digest(), *(spec.digest() for spec in other)}) == len(other) + 1


def test_documents_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        experiment().seed = 3


def test_schema_describes_every_field():
    schema = experiment_schema()
    missing = [
        f"{name}.{field}"
        for name, definition in {**schema["$defs"], "Experiment": schema}.items()
        for field, entry in definition.get("properties", {}).items()
        if field != "kind" and "description" not in entry and "$ref" not in entry
    ]
    assert not missing
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(Experiment.model_fields)
