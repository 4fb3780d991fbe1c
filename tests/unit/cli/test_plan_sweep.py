"""`plan`, `validate` and `schema` of sweeps: nothing is made, and it is said what a sweep would take."""

import json

import pytest
from click.testing import CliRunner

import sweeps
from side4video.cli.plan import plan
from side4video.cli.schema import schema
from side4video.cli.validate import validate
from side4video.core.errors import InputError


@pytest.fixture
def file(tmp_path):
    return str(sweeps.as_yaml(tmp_path / "sweep.yaml", sweeps.document("planned", {"data": {"dataset": {"seed": 9}}})))


def test_the_plan_has_its_fields_and_makes_no_data(file):
    answer = json.loads(CliRunner().invoke(plan, [file, "--json"]).stdout)
    names = {"arms", "distinct_arms", "done_arms", "packs", "predicted_speedup"}
    assert names <= answer.keys()
    assert (answer["arms"], answer["distinct_arms"], answer["done_arms"]) == (6, 4, 0)
    assert [len(pack["arms"]) for pack in answer["packs"]] == [4]
    assert not sweeps.make_sweep("planned", {"data": {"dataset": {"seed": 9}}}).base_experiment.data.dataset.is_made()


def test_a_budget_that_is_too_small_fails_and_says_what_splits_the_pack(file):
    done = CliRunner().invoke(plan, [file, "--budget-gib", "0.001"])
    assert done.exit_code == 1
    assert "limits.memory_gib=0.001" in done.stderr
    assert CliRunner().invoke(plan, [file, "--budget-gib", "100"]).exit_code == 0


def test_a_pack_is_split_to_the_memory_that_is_given(file):
    whole = json.loads(CliRunner().invoke(plan, [file, "--json"]).stdout)["packs"]
    limit = whole[0]["predicted_peak_gib"] * 0.97
    parts = json.loads(CliRunner().invoke(plan, [file, "--json", "--set", f"limits.memory_gib={limit}"]).stdout)[
        "packs"
    ]
    assert len(parts) > 1
    assert all(part["predicted_peak_gib"] <= limit for part in parts)


def test_sweeps_are_validated_with_all_their_arms(file, tmp_path):
    assert "6 rows, 4 distinct arms" in CliRunner().invoke(validate, [file]).stdout
    wrong = sweeps.document("wrong", grid={"method.dim": [64, 65]})
    done = CliRunner().invoke(validate, [str(sweeps.as_yaml(tmp_path / "wrong.yaml", wrong))])
    assert done.exit_code == InputError.exit_code
    assert "arm dim=65" in done.stderr
    assert "method: dim 65" in done.stderr


def test_editors_have_a_schema_of_sweeps():
    properties = json.loads(CliRunner().invoke(schema, ["sweep"]).stdout)["properties"]
    assert {"base", "grid", "tables", "random", "optuna", "seeds", "scheduler", "packing"} <= properties.keys()
