"""The sweeps in `experiments/`: each loads, has the arms that its header says, and the paper's figures by its rows."""

from pathlib import Path

import pytest
import yaml

from side4video.spec.arm import load_sweep
from side4video.spec.load import is_sweep

FOLDER = Path(__file__).resolve().parents[3] / "experiments"
FILES = [path for path in FOLDER.rglob("*.yaml") if path.parent.name != "clusters"]
SWEEPS = {path.relative_to(FOLDER).as_posix(): path for path in FILES if is_sweep(path)}

SIZES = {
    "few-shot/few-shot-hmdb51.yaml": (12, 12),
    "few-shot/few-shot-ucf101.yaml": (12, 12),
    # file: rows, distinct arms
    "quickstart-search.yaml": (0, 0),
    "quickstart-sweep.yaml": (14, 9),
    "quickstart-retrieval-sweep.yaml": (3, 3),
    "msrvtt/table3.yaml": (3, 3),
    "ablations/five-seeds.yaml": (10, 10),
    "ablations/learning-rate-weight-decay.yaml": (12, 12),
    "ablations/motion-asha.yaml": (16, 16),
    "ablations/motion-optuna.yaml": (0, 0),  # the sampler proposes them
    "ablations/pareto-layers-dim.yaml": (18, 18),
    "ablations/towers.yaml": (5, 5),
    "clip-towers/ssv2-vjepa2-probes.yaml": (20, 20),
    "ablations/table9-a.yaml": (2, 2),
    "ablations/table9-b.yaml": (2, 2),
    "ablations/table9-c.yaml": (2, 2),
    "ablations/table9-d.yaml": (3, 3),
    "ablations/table9-e.yaml": (3, 3),
    "ablations/table9-f.yaml": (3, 3),
    "ablations/table9-b-f.yaml": (13, 9),
}
TABLE_9 = {
    # part: what the row changes of the common arm, its top-1 in percent, its memory in GB
    "9a": [({"fusion": "top"}, 64.0, None), ({}, 64.7, None)],
    "9b": [({"temporal": "attention"}, 57.9, 20.4), ({}, 58.5, 18.8)],
    "9c": [({"cls_shift": False}, 57.9, 18.8), ({}, 58.5, 18.8)],
    "9d": [
        ({"representation": "vit-cls"}, 54.7, 19.2),
        ({"representation": "extra-cls"}, 53.4, 19.3),
        ({}, 58.5, 18.8),
    ],
    "9e": [({"layers": 4}, 54.9, 8.4), ({"layers": 6}, 56.9, 11.0), ({}, 58.5, 18.8)],
    "9f": [({"dim": 128}, 56.7, 11.3), ({}, 58.5, 18.8), ({"dim": 512}, 57.8, 26.5)],
}
COMMON = {
    "layers": 12,
    "dim": 320,
    "fusion": "interval",
    "temporal": "conv",
    "cls_shift": True,
    "representation": "gap",
}
MAX_VALUE = {**COMMON, "layers": 32, "dim": 576}


def rows_as_the_paper_has_them(file):
    """Each part's rows: what they are, and the figures beside them."""
    found = {}
    for row in load_sweep(file).rows:
        method = row.experiment.method.model_dump()
        figures = (row.paper.get("top1"), row.paper.get("memory_gb"))
        found.setdefault(row.table, []).append(({key: method[key] for key in COMMON}, figures))
    return found


def table_9(*parts):
    """The same of the paper."""
    common = {part: MAX_VALUE if part == "9a" else COMMON for part in parts}
    return {
        part: [({**common[part], **changes}, (round(top1 / 100, 3), memory)) for changes, top1, memory in TABLE_9[part]]
        for part in parts
    }


def test_these_are_all():
    assert len(SIZES) == 20
    assert set(SWEEPS) == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_a_sweep_has_its_arms(name):
    sweep = load_sweep(SWEEPS[name])
    assert (len(sweep.rows), len(sweep.arms)) == SIZES[name]


@pytest.mark.parametrize("name", SIZES)
def test_the_header_says_how_it_is_run(name):
    text = SWEEPS[name].read_text()
    assert f"side4video sweep experiments/{name}" in text
    assert text.startswith("# ")
    assert f"\nname: {Path(name).stem}\n" in text


@pytest.mark.parametrize("part", TABLE_9)
def test_a_part_of_table_9(part):
    file = SWEEPS[f"ablations/table9-{part[1]}.yaml"]
    assert rows_as_the_paper_has_them(file) == table_9(part)
    assert f"Table {part}" in load_sweep(file).spec.reproduces


def test_all_of_table_9_on_one_backbone():
    file = SWEEPS["ablations/table9-b-f.yaml"]
    assert rows_as_the_paper_has_them(file) == table_9("9b", "9c", "9d", "9e", "9f")
    (common,) = [arm for arm in load_sweep(file).arms if len(arm.rows) > 1]
    assert len(common.rows) == 5


def test_a_part_alone_and_all_together_are_the_same_experiments():
    parts = [arm.key for part in "bcdef" for arm in load_sweep(SWEEPS[f"ablations/table9-{part}.yaml"]).arms]
    assert set(parts) == {arm.key for arm in load_sweep(SWEEPS["ablations/table9-b-f.yaml"]).arms}


def test_twin_with_a_wrong_figure_is_another_table(tmp_path):
    text = SWEEPS["ablations/table9-e.yaml"].read_text()
    twin = tmp_path / "twin.yaml"
    document = yaml.safe_load(text)
    document["base"] = str(FOLDER / "ssv1/vitb16.yaml")
    twin.write_text(yaml.safe_dump(document))
    assert rows_as_the_paper_has_them(twin) == table_9("9e")
    document["tables"]["9e"]["arms"][0]["paper"]["top1"] = 0.569
    twin.write_text(yaml.safe_dump(document))
    assert rows_as_the_paper_has_them(twin) != table_9("9e")


def test_figures_outside_table_9_are_the_common_arms():
    for name in set(SIZES) - {file for file in SIZES if "table9" in file or "table3" in file}:
        for row in load_sweep(SWEEPS[name]).rows:
            if row.paper:
                assert {key: row.experiment.method.model_dump()[key] for key in COMMON} == COMMON
                assert row.paper == {"top1": 0.585, "memory_gb": 18.8}


def test_the_protocol_of_table_9():
    for part in "abcdef":
        for arm in load_sweep(SWEEPS[f"ablations/table9-{part}.yaml"]).arms:
            data = arm.experiment.data
            assert (data.frames, data.views.total, data.recipe) == (8, 1, "ssv1")
            assert data.dataset.annotations.startswith("${SSV1}")


def test_arms_of_one_sweep_agree_on_what_a_pack_shares():
    for name, path in SWEEPS.items():
        if name == "msrvtt/table3.yaml" or name.startswith("few-shot/"):
            continue  # one of its arms trains the tower, and trains apart; and arms with other clips do
        shared = [arm.experiment.shared() for arm in load_sweep(path).arms]
        assert all(each == shared[0] for each in shared), name


def test_the_light_sweep_is_every_combination_around_the_light_network():
    sweep = load_sweep(SWEEPS["ablations/pareto-layers-dim.yaml"])
    methods = [arm.experiment.method for arm in sweep.arms]
    tower = sweep.base_experiment.tower
    assert {(m.layers, m.dim, m.fusion) for m in methods} == {
        (layers, dim, fusion) for layers in (3, 4, 6) for dim in (64, 128, 192) for fusion in ("interval", "top")
    }
    assert len({(m.taps(tower), m.dim) for m in methods}) == 18


def test_searches_that_decide_hear_of_each_epoch():
    for name in ("ablations/motion-asha.yaml", "ablations/motion-optuna.yaml"):
        sweep = load_sweep(SWEEPS[name])
        assert sweep.spec.uses_epoch_results
        assert sweep.base_experiment.evaluation.every_epochs == 1


def test_the_search_proposes_methods_with_fields_of_their_own():
    spec = load_sweep(SWEEPS["ablations/motion-optuna.yaml"]).spec
    kinds = {value["kind"] for value in spec.optuna.space["method"].values}
    assert kinds == {"side4video", "attentive", "lst"}
    assert spec.optuna.arms == 24
