"""A sweep's document: the arms it means, which of them are the same, and every mistake before anything runs."""

import itertools
import json
import re

import pytest
import yaml
from click.testing import CliRunner

from side4video.cli.main import cli
from side4video.core.dotted import short_names
from side4video.core.errors import InputError
from side4video.spec import arm as module
from side4video.spec.arm import (
    arm_name,
    build_sweep,
    describe_overrides,
    load_sweep,
    make_rows,
    merge_duplicates,
    swept_values,
)
from side4video.spec.experiment import Experiment
from side4video.spec.load import is_sweep, parse_document
from side4video.spec.sweep import ArmEntry, SweepSpec
from tiny import DOCUMENT, merged, tiny

LAYERS = {"method.layers": [1, 2]}
GRID = {"method.layers": [1, 2], "optimization.learning_rate": [1e-3, 1e-4, 1e-5]}
SPACE = {"optimization.learning_rate": {"kind": "log-uniform", "low": 1e-5, "high": 1e-2}}
COUNT = {"kind": "integer", "low": 1, "high": 3}
WAYS = {
    "grid": GRID,
    "tables": {"e": {"arms": [{"label": "one", "overrides": {"method.layers": 1}}, {"label": "two"}]}},
    "random": {"arms": 4, "space": SPACE},
    "optuna": {"arms": 4, "space": SPACE},
}
ROWS = {"grid": 6, "tables": 2, "random": 4, "optuna": 0}


def make(base=None, **sweep):
    whole = {"name": "s", "base": base or DOCUMENT, **sweep}
    return build_sweep(parse_document(SweepSpec, whole, source="s.yaml"), whole["base"], "s.yaml")


def table(*arms, **overrides):
    """One table of arms, each `(label, overrides)`."""
    rows = [{"label": label, "overrides": changes} for label, changes in arms]
    return {"t": {"arms": rows, **({"overrides": overrides} if overrides else {})}}


def complaint(**sweep):
    with pytest.raises(InputError) as caught:
        make(**sweep)
    return str(caught.value)


def values(sweep, path):
    """What the rows' experiments have at a path."""
    return [module._value_at(row.experiment.resolved(), path) for row in sweep.rows]


# ---- the four ways


@pytest.mark.parametrize("way", WAYS)
def test_each_way_says_its_arms(way):
    sweep = make(**{way: WAYS[way]})
    assert len(sweep.rows) == ROWS[way]
    assert all(isinstance(row.experiment, Experiment) for row in sweep.rows)


def test_none_of_the_ways_is_refused():
    line = complaint()
    for word in ("no arms", "exactly one of grid, tables, random, optuna", "fix: add `grid"):
        assert word in line, line


@pytest.mark.parametrize("two", list(itertools.combinations(WAYS, 2)), ids=" and ".join)
def test_two_of_the_ways_are_refused(two):
    line = complaint(**{way: WAYS[way] for way in two})
    assert all(way in line.partition(" · ")[0] for way in two), line
    assert "fix: keep one of them" in line


def test_arms_whose_workers_come_and_go_are_refused():
    line = complaint(grid={"cluster.workers": [2, [2, 4]]})
    for word in ("arm", "cluster.workers: 2 to 4", "different numbers of workers", "fix: set it to 2"):
        assert word in line, line
    assert len(make(grid={"cluster.workers": [1, 2]}).rows) == 2


def test_a_grid_is_every_combination_with_the_last_path_fastest():
    sweep = make(grid=GRID)
    found = list(zip(values(sweep, "method.layers"), values(sweep, "optimization.learning_rate"), strict=True))
    assert found == list(itertools.product([1, 2], [1e-3, 1e-4, 1e-5]))
    assert len(sweep.arms) == 6


@pytest.mark.parametrize(
    "changes",
    [
        {"grid": {"method.dim": [64, 128], "method": [{"kind": "linear"}]}},
        {"random": {"arms": 2, "space": {"data": COUNT, "data.views.clips": COUNT}}},
    ],
)
def test_a_path_and_its_parent_are_not_swept_together(changes):
    """Rows would differ in their names only."""
    line = complaint(**changes)
    assert "is below `method`" in line or "is below `data`" in line


def test_twin_whose_grid_pairs_values_up():
    def pairs(spec):
        for number, each in enumerate(zip(*spec.grid.values(), strict=False)):
            yield "", ArmEntry(label=str(number), overrides=dict(zip(spec.grid, each, strict=True)))

    sweep = make(grid=GRID)
    assert len(make_rows(sweep.spec, sweep.base, list(pairs(sweep.spec)), "s.yaml")) != 6


def test_tables_keep_their_order_and_the_papers_figures():
    rows = [{"label": "b", "paper": {"top1": 0.7}}, {"label": "a", "overrides": {"method.layers": 1}}]
    sweep = make(tables={"z": {"arms": rows}, "a": {"arms": [{"label": "b"}]}})
    assert [row.row_name for row in sweep.rows] == ["z: b", "z: a", "a: b"]
    assert [dict(row.paper) for row in sweep.rows] == [{"top1": 0.7}, {}, {}]


def test_random_arms_are_the_same_for_the_same_seed():
    rates = [
        values(make(random={"arms": 6, "seed": seed, "space": SPACE}), "optimization.learning_rate")
        for seed in (3, 3, 4)
    ]
    assert rates[0] == rates[1] != rates[2]
    assert len(set(rates[0])) == 6


def test_optuna_proposes_in_batches_as_large_as_a_pack():
    def batch(**more):
        return make(**{"optuna": {"arms": 20, "space": SPACE}, **more}).batch

    assert batch() == 8
    assert batch(packing=5) == 5
    assert batch(packing="off") == 1
    assert batch(limits={"virtual_trials": 4}) == 4
    assert batch(limits={"virtual_trials": 4}, seeds=3) == 1
    assert batch(optuna={"arms": 3, "space": SPACE}) == 3


def test_what_optuna_proposes_is_checked_as_any_arm():
    sweep = make(optuna={"arms": 2, "space": SPACE}, seeds=2)
    rows = sweep.propose(0, {"optimization.learning_rate": 2e-3})
    assert [(row.seed, row.experiment.optimization.learning_rate) for row in rows] == [(0, 2e-3), (1, 2e-3)]
    with pytest.raises(InputError, match=r"s\.yaml: arm 1: .*method\.layers"):
        sweep.propose(1, {"method.layers": 99})


def test_a_space_with_values_that_are_no_experiment_is_refused():
    space = {"method.layers": {"kind": "integer", "low": 1, "high": 3}}
    line = complaint(optuna={"arms": 2, "space": space})
    assert "method.layers: layers 3 is more than the tower's 2 blocks" in line or "allowed: 1 to 2" in line


# ---- short forms


@pytest.fixture
def write(tmp_path):
    """Write a sweep's file, with text added, and give its path."""

    def written(more="", **sweep):
        file = tmp_path / "sweep.yaml"
        file.write_text(yaml.safe_dump({"name": "s", "base": DOCUMENT, "grid": LAYERS, **sweep}) + more)
        return file

    return written


@pytest.mark.parametrize(("text", "packing"), [("off", "off"), ("auto", "auto"), ("5", 5), ("'off'", "off")])
def test_packing_as_one_writes_it(write, text, packing):
    assert load_sweep(write(f"packing: {text}\n")).spec.packing == packing


@pytest.mark.parametrize("text", ["0", "-1", "on", "sometimes", "1.5"])
def test_other_packings_are_refused(write, text):
    with pytest.raises(InputError, match="packing"):
        load_sweep(write(f"packing: {text}\n"))


def test_a_scheduler_may_be_its_name_alone(write):
    short = load_sweep(write("scheduler: asha\n")).spec.scheduler
    assert short == load_sweep(write("scheduler: {kind: asha, reduction: 4}\n")).spec.scheduler
    assert load_sweep(write("scheduler: none\n")).spec.scheduler.kind == "none"
    with pytest.raises(InputError, match=r"scheduler: unknown kind 'asba' .*did you mean asha"):
        load_sweep(write("scheduler: asba\n"))


def test_fields_of_the_sweep_are_changed_from_the_command_line(write):
    sweep = load_sweep(write(), ("seeds=2", "scheduler=median", "overrides={method.dim: 128}"))
    assert (len(sweep.rows), sweep.spec.scheduler.kind) == (4, "median")
    assert set(values(sweep, "method.dim")) == {128}


# ---- the base


@pytest.mark.parametrize("inline", [True, False], ids=["inline", "file"])
def test_the_base_is_inline_or_a_file_beside_the_sweeps(tmp_path, monkeypatch, inline):
    (tmp_path / "sweeps" / "bases").mkdir(parents=True)
    (tmp_path / "sweeps" / "bases" / "tiny.yaml").write_text(yaml.safe_dump(DOCUMENT))
    file = tmp_path / "sweeps" / "s.yaml"
    base = DOCUMENT if inline else "bases/tiny.yaml"
    file.write_text(yaml.safe_dump({"name": "s", "base": base, "grid": LAYERS}))
    monkeypatch.chdir(tmp_path)
    assert load_sweep("sweeps/s.yaml").base_experiment == tiny()


def test_a_base_that_is_not_there_or_wrong_is_named(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(yaml.safe_dump({"name": "s", "base": "tini.yaml", "grid": LAYERS}))
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(DOCUMENT))
    with pytest.raises(InputError, match=r"tini\.yaml: no such file .*did you mean .*tiny\.yaml"):
        load_sweep(file)
    assert "s.yaml: base: method.layers" in complaint(base=merged(DOCUMENT, {"method": {"layers": 7}}), grid=LAYERS)


def test_a_base_with_what_json_does_not_know_is_one_line():
    """YAML reads a bare date as one."""
    base = yaml.safe_load(yaml.safe_dump(DOCUMENT) + "\n") | {"name": yaml.safe_load("2024-05-01")}
    assert "s.yaml: base: name: datetime.date" in complaint(base=base, grid=LAYERS)


def test_the_base_is_not_changed_by_its_arms():
    base = merged(DOCUMENT, {})
    make(base=base, grid={"method.layers": [1], "data.loader": [{"workers": 1}]}, overrides={"method.dim": 128})
    assert base == DOCUMENT


def test_a_sweep_is_told_from_an_experiment_by_its_base(write, tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(DOCUMENT))
    assert is_sweep(write())
    assert not is_sweep(tmp_path / "tiny.yaml")
    with pytest.raises(InputError, match="no such file"):
        is_sweep(tmp_path / "nothing.yaml")


def test_a_search_says_which_extra_it_needs(monkeypatch):
    search, grid = make(optuna=WAYS["optuna"]).spec, make(grid=GRID).spec
    search.check_installed()
    monkeypatch.setattr("side4video.spec.sweep.find_spec", lambda name: None)
    grid.check_installed()
    with pytest.raises(InputError, match=r"optuna is not installed here · fix: pip install 'side4video\[optuna\]'"):
        search.check_installed()


@pytest.mark.parametrize("command", ["sweep", "validate"])
def test_commands_say_so_before_anything_is_prepared(command, write, monkeypatch):
    monkeypatch.setattr("side4video.spec.sweep.find_spec", lambda name: None)
    file = str(write(grid={}, optuna=WAYS["optuna"]))
    answer = CliRunner().invoke(cli, [command, file])
    assert "pip install 'side4video[optuna]'" in f"{answer.output}{answer.exception}"
    assert CliRunner().invoke(cli, ["validate", file, "--no-files"]).exit_code == 0


# ---- whose override counts


def dims_by_level(entries=None):
    arms = [("arm", {"method.dim": 256, "method.layers": 1}), ("table", {})]
    overrides = {"method.dim": 64, "method.layers": 2, "data.frames": 8}
    sweep = make(overrides=overrides, tables=table(*arms, **{"method.dim": 128}))
    rows = make_rows(sweep.spec, sweep.base, list(entries(sweep.spec)), "s.yaml") if entries else sweep.rows
    names = ("method.dim", "method.layers", "data.frames")
    return {row.label: tuple(module._value_at(row.experiment.resolved(), name) for name in names) for row in rows}


def test_an_arms_overrides_win_over_its_tables_and_those_over_the_sweeps():
    assert dims_by_level() == {"arm": (256, 1, 8), "table": (128, 2, 8)}


def test_twin_that_lets_the_table_win():
    def entries(spec):
        for name, each in spec.tables.items():
            for arm in each.arms:
                yield name, arm.model_copy(update={"overrides": {**arm.overrides, **each.overrides}})

    assert dims_by_level(entries)["arm"] != (256, 1, 8)


# ---- seeds


def test_seeds_count_from_the_bases():
    sweep = make(base=merged(DOCUMENT, {"seed": 5}), grid=LAYERS, seeds=3)
    assert [row.seed for row in sweep.rows] == [5, 6, 7, 5, 6, 7]
    assert values(sweep, "seed") == [row.seed for row in sweep.rows]
    assert len(sweep.arms) == 6
    assert values(sweep, "data.seed") == [0] * 6


def test_an_arm_with_a_seed_of_its_own_counts_from_it():
    assert values(make(grid={"seed": [0, 10]}, seeds=2), "seed") == [0, 1, 10, 11]


@pytest.mark.parametrize("seed", ["one", 1.5, -1, None, [1]])
def test_a_wrong_seed_of_an_arm_is_one_line(seed):
    line = complaint(tables=table(("odd", {"seed": seed})))
    assert line.startswith("s.yaml: arm t: odd: seed"), line
    assert "\n" not in line


# ---- the same experiment


def rows_of(*changes):
    """Rows with these overrides, beside the base."""
    rows = [("base", {}), *((str(number), each) for number, each in enumerate(changes))]
    return make(tables=table(*rows)).rows


def arms_of(*changes):
    return merge_duplicates(rows_of(*changes))


WITHOUT_EFFECT = [
    {"tracking.run_name": "other"},
    {"tracking.tags": {"who": "me"}},
    {"data.loader.workers": 1},
    {"data.loader": {"prefetch": 7, "cache": "memory"}},
    {"cluster.max_failures": 3},
    {"method.layers": 2},
    {"method": {"kind": "side4video", "dim": 64, "layers": 2}},
]
WITH_EFFECT = [
    {"optimization.learning_rate": 1e-5},
    {"method.layers": 1},
    {"seed": 1},
    {"task.label_smoothing": 0.3},
    {"backbone.weights.seed": 1},
    {"data.seed": 3},
]


def test_rows_that_are_the_same_experiment_are_one_arm():
    (arm,) = arms_of(*WITHOUT_EFFECT)
    assert len(arm.rows) == len(WITHOUT_EFFECT) + 1
    assert arm.title == "t: base"
    assert arm.key == arm.experiment.digest()


def test_rows_with_another_result_are_arms_of_their_own():
    assert len(arms_of(*WITH_EFFECT)) == len(WITH_EFFECT) + 1


def test_twin_that_looks_at_the_name():
    def document(row):
        return json.dumps(row.experiment.resolved(), sort_keys=True)

    assert len({document(row) for row in rows_of(*WITHOUT_EFFECT)}) > 1


def test_twin_that_overlooks_the_learning_rate():
    def without_rate(row):
        same = row.experiment.optimization.model_copy(update={"learning_rate": 1e-3})
        return row.experiment.model_copy(update={"optimization": same}).digest()

    assert len({without_rate(row) for row in rows_of(*WITH_EFFECT)}) < len(WITH_EFFECT) + 1


def test_the_same_arm_in_two_tables_is_one_with_both_rows():
    shared = {"label": "deep", "overrides": {"method.layers": 2}}
    sweep = make(
        tables={"a": {"arms": [shared, {"label": "flat", "overrides": {"method.layers": 1}}]}, "b": {"arms": [shared]}},
        seeds=2,
    )
    rows = [[row.row_name for row in arm.rows] for arm in sweep.arms]
    assert rows == [["a: deep", "b: deep"]] * 2 + [["a: flat"]] * 2
    assert [arm.title for arm in sweep.arms] == ["a: deep", "a: deep · seed 1", "a: flat", "a: flat · seed 1"]


# ---- mistakes

MISTAKES = {
    # the sweep, words of its line
    "a typo in a grid": (
        {"grid": {"method.layer": [1]}},
        ["s.yaml: arm layer=1: method.layer", "did you mean layers?"],
    ),
    "a value that does not fit": (
        {"tables": table(("deep", {"method.layers": 3}))},
        ["s.yaml: arm t: deep: method.layers", "layers 3", "allowed: 1 to 2"],
    ),
    "a field of another method": (
        {"tables": table(("probe", {"method": {"kind": "linear", "dim": 64}}))},
        ["arm t: probe: method", "unknown key"],
    ),
    "a path through a number": (
        {"tables": table(("odd", {"method.layers.first": 1}))},
        ["s.yaml: arm t: odd: method.layers.first", "layers is 2, not a section"],
    ),
    "a path with an empty part": ({"grid": {"method..layers": [1]}}, ["method..layers", "empty part"]),
    "an override of all arms": (
        {"overrides": {"method.layers.x": 1}, "grid": LAYERS},
        ["s.yaml: overrides: method.layers.x", "not a section"],
    ),
    "a wrong value for all arms": (
        {"overrides": {"method.layers": 9}, "grid": LAYERS},
        ["s.yaml: base: method.layers"],
    ),
    "a drawn arm": (
        {"random": {"arms": 1, "space": {"method.dim": {"kind": "integer", "low": 65, "high": 66}}}},
        ["s.yaml: arm 0: dim=6", "method", "fix: use 64"],
    ),
    "a reference that is not there": (
        {"grid": LAYERS, "reference": "layers=3"},
        ["s.yaml: reference", "no arm is called 'layers=3'", "allowed: layers=1, layers=2"],
    ),
    "two arms of one label": (
        {"tables": table(("a", {}), ("a", {"method.layers": 1}))},
        ["tables.t.arms", "two arms are called a", "fix: rename one"],
    ),
    "a table without arms": ({"tables": {"t": {"arms": []}}}, ["tables.t.arms"]),
    "a name with a slash": ({"name": "a/b", "grid": LAYERS}, ["s.yaml: name", "'a/b'"]),
    "a long name": ({"name": "n" * 49, "grid": LAYERS}, ["s.yaml: name"]),
    "an empty row of a grid": ({"grid": {"method.layers": []}}, ["grid.method.layers"]),
    "a figure of no paper": (
        {"tables": {"t": {"arms": [{"label": "a", "paper": {"top2": 0.1}}]}}},
        ["tables.t.arms.0.paper", "top1"],
    ),
    "an unknown metric": ({"grid": LAYERS, "metric": "eval/top11"}, ["s.yaml: metric", "did you mean eval/top1?"]),
    "a typo": ({"grids": LAYERS, "grid": LAYERS}, ["grids", "did you mean grid?"]),
    "a reduction of one": ({"grid": LAYERS, "scheduler": {"kind": "asha", "reduction": 1}}, ["scheduler.reduction"]),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_that_says_where(case):
    sweep, words = MISTAKES[case]
    line = complaint(**sweep)
    assert "\n" not in line, line
    for word in words:
        assert word in line, line


SEVERAL = table(
    ("typo", {"method.layer": 1}), ("right", {}), ("deep", {"method.layers": 9}), ("path", {"method.dim.x": 1})
)


def arms_with_a_line():
    return re.findall(r"arm t: (\w+):", complaint(tables=SEVERAL))


def test_all_mistakes_are_told_at_once():
    assert arms_with_a_line() == ["typo", "deep", "path"]


def test_twin_that_stops_at_the_first(monkeypatch):
    make_rows = module.make_rows

    def hasty(spec, base, proposals, source):
        return tuple(row for each in proposals for row in make_rows(spec, base, [each], source))

    monkeypatch.setattr(module, "make_rows", hasty)
    assert arms_with_a_line() != ["typo", "deep", "path"]


def test_the_same_mistake_of_all_seeds_is_told_once():
    assert len(complaint(grid={"method.layers": [9]}, seeds=5).splitlines()) == 1


def test_the_line_of_the_file_is_named(write):
    text = "name: s\nbase: tiny.yaml\ngrid:\n  method.layers: [1, 2]\nlimits:\n  memory: 3\n"
    file = write()
    file.write_text(text)
    with pytest.raises(InputError, match=r"sweep\.yaml:6: limits\.memory: unknown key .*did you mean memory_gib"):
        load_sweep(file)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: s\ngrid: [unclosed\n", 3),
        ("name: s\nname: t\n", 2),
        ("name: s\ngrid:\n\tmethod.layers: [1]\n", 3),
        ("name: s\ngrid:\n  method.layers: [1]\n  method.layers: [2]\n", 4),
    ],
)
def test_yaml_that_is_none_is_one_line_with_its_number(write, text, line):
    file = write()
    file.write_text(text)
    with pytest.raises(InputError, match=rf"sweep\.yaml:{line}: ") as caught:
        load_sweep(file)
    assert "\n" not in str(caught.value)


# ---- a scheduler that would see nothing


def epochs(every, length, **more):
    base = merged(DOCUMENT, {"evaluation": {"every_epochs": every}, "optimization": {"length": {"epochs": length}}})
    return {"base": base, "grid": LAYERS, "scheduler": "asha", **more}


@pytest.mark.parametrize(("every", "length"), [(2, 2), (3, 2), (5, 4.5), (1, 1)])
def test_a_scheduler_that_would_see_no_arm_before_its_end_is_refused(every, length):
    line = complaint(**epochs(every, length))
    assert line.startswith("s.yaml: base.evaluation.every_epochs"), line
    assert "asha" in line


@pytest.mark.parametrize(("every", "length"), [(1, 2), (3, 4), (4, 4.5)])
def test_one_that_sees_an_epoch_is_not_refused(every, length):
    assert make(**epochs(every, length)).rows
    assert make(**epochs(9, 9, scheduler="none")).rows


def test_what_is_advised_against_it_helps():
    line = complaint(**epochs(4, 4))
    assert "fix: add `overrides: {evaluation.every_epochs: 1}`" in line
    assert make(**epochs(4, 4, overrides={"evaluation.every_epochs": 1})).rows
    assert "fix: leave the scheduler out" in complaint(**epochs(1, 1))


# ---- names of columns


def test_a_column_is_named_by_the_last_word_that_tells_it_from_others():
    paths = [
        "method.layers",
        "optimization.length.epochs",
        "optimization.warmup.epochs",
        "method.kind",
        "data.seed",
        "seed",
    ]
    assert list(short_names(paths).values()) == [
        "layers",
        "length.epochs",
        "warmup.epochs",
        "method",
        "data.seed",
        "seed",
    ]


@pytest.mark.parametrize(
    "paths",
    [
        ["a.kind", "b.a.kind", "c.b.a.kind"],
        ["x.y", "z.x.y", "y"],
        ["optimization.average.kind", "data.average.kind", "average"],
    ],
)
def test_different_columns_have_different_names(paths):
    assert len(set(short_names(paths).values())) == len(paths)


def test_twin_that_takes_the_last_word():
    paths = ["optimization.length.epochs", "optimization.warmup.epochs"]
    assert len({path.rpartition(".")[2] for path in paths}) == 1


METHODS = [{"kind": "side4video", "layers": 2, "dim": 128}, {"kind": "linear"}]


def test_rows_have_the_same_columns_and_none_where_a_branch_lacks_the_field():
    sweep = make(tables=table(("side", {"method": METHODS[0]}), ("probe", {"method": METHODS[1]}), ("base", {})))
    columns = swept_values(sweep.rows)
    assert columns == [
        {"method": "side4video", "layers": 2, "dim": 128},
        {"method": "linear", "layers": None, "dim": None},
        {"method": "side4video", "layers": 2, "dim": 64},
    ]


def test_columns_say_what_the_experiment_has_and_not_what_was_written():
    """A section's default, a list, and a section without a kind."""
    changes = {
        "optimization.length": {"steps": 7},
        "optimization.betas": [0.8, 0.9],
        "optimization.average.kind": "none",
    }
    sweep = make(tables=table(("short", changes), ("base", {})))
    short, base = swept_values(sweep.rows)
    assert short == {"steps": 7, "betas": "[0.8, 0.9]", "average": "none"}
    assert base == {"steps": 0, "betas": "[0.9, 0.999]", "average": "none"}


def test_rows_that_change_nothing_have_no_columns():
    assert swept_values(make(tables=table(("base", {}))).rows) == [{}]


def test_labels_of_a_grid_say_what_is_varied():
    labels = [row.label for row in make(grid={"method": METHODS, "optimization.learning_rate": [1e-3]}).rows]
    assert labels == [
        "method=side4video layers=2 dim=128, learning_rate=0.001",
        "method=linear, learning_rate=0.001",
    ]
    assert describe_overrides({}) == "the base"


# ---- names of arms

ODD = [
    "",
    "ä",
    "a/b",
    "→",
    "-",
    "...",
    "μ = 10⁻³",
    "a" * 300,
    "a, " * 90 + "b",
    ("x" * 71 + "-" * 20),
    "new\nline",
    "🙂" * 80,
]
NAME = re.compile(Experiment.model_fields["name"].metadata[0].pattern)


@pytest.mark.parametrize("label", ODD)
@pytest.mark.parametrize("sweep", ["s", "n" * 48])
def test_an_arms_name_is_one_that_an_experiment_may_have(label, sweep):
    names = [arm_name(sweep, table, label, seed=seed) for table in ("", "t" * 60) for seed in (0, 7, 10**12)]
    assert all(NAME.fullmatch(name) and len(name) <= 80 for name in names), names


def names_of_seeds(label, name=arm_name):
    return {name("sweep", "t", label, seed=seed) for seed in [*range(12), 10**9, 10**9 + 1]}


@pytest.mark.parametrize("label", ODD)
def test_arms_of_other_seeds_have_other_names(label):
    assert len(names_of_seeds(label)) == 14


def test_twin_that_cuts_the_seed_off():
    def cut(sweep, table, label, *, seed):
        return f"{sweep}-{label}-s{seed}"[:80]

    assert len(names_of_seeds("a" * 300, cut)) < 14


def test_the_name_tells_sweep_table_label_and_seed():
    sweep = make(tables=table(("top 2 of 3", {})), seeds=2)
    assert [row.experiment.name for row in sweep.rows] == ["s-t-top-2-of-3-s0", "s-t-top-2-of-3-s1"]
