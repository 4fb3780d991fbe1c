"""Sweeps of several labels and several heads: what arms are compared by, and the test of their difference."""

import csv
import json

import pytest
import yaml
from click.testing import CliRunner

from label_sets import make_labelled_list, write_spec
from side4video.cli.main import cli
from side4video.core.errors import InputError
from side4video.spec.arm import load_sweep
from side4video.tracking.finished_runs import correct_predictions


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("label-sweeps")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIDE4VIDEO_HOME", str(folder / "home"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        listed = make_labelled_list(folder / "clips")
        for name in ("several", "heads"):
            write_spec(folder / f"{name}.yaml", name, listed)
        yield folder


def sweep_of(home, base, **fields):
    document = {
        "name": f"{base}-sweep",
        "base": str(home / f"{base}.yaml"),
        "grid": {"method.layers": [1, 2]},
        **fields,
    }
    path = home / f"{base}-sweep.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def call(*words):
    done = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


@pytest.mark.parametrize("metric", ["eval/verb_top1", "eval/noun_class_recall5", "eval/action_top1", "eval/loss"])
def test_arms_are_compared_by_a_head(home, metric):
    assert load_sweep(sweep_of(home, "heads", metric=metric)).spec.metric == metric


def test_an_unknown_metric_is_answered_with_those_of_the_heads(home):
    with pytest.raises(InputError) as found:
        load_sweep(sweep_of(home, "heads", metric="eval/vreb_top1"))
    message = str(found.value)
    assert "allowed: eval/action_top1, " in message
    assert "eval/noun_top5, eval/noun_class_recall5, eval/verb_top1" in message
    assert "fix: did you mean eval/verb_top1?" in message
    with pytest.raises(InputError, match="eval/verb_top1, and the task is multi-label"):
        load_sweep(sweep_of(home, "several", metric="eval/verb_top1"))


def test_a_sweep_by_one_head_has_the_exact_test(home, tmp_path):
    call("sweep", sweep_of(home, "heads", metric="eval/verb_top1", seeds=2), "--local", "--report", tmp_path)
    (page,) = tmp_path.glob("*.md")
    text = page.read_text()
    assert "verb top-1 (%)" in text
    assert "exact two-sided McNemar test" in text
    assert "were ignored" not in text
    (table,) = tmp_path.glob("*.csv")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["p_mcnemar"] != "" for row in rows] == [False, True]
    assert float(rows[1]["difference"]) == pytest.approx(
        float(rows[1]["eval/verb_top1"]) - float(rows[0]["eval/verb_top1"])
    )


def test_a_sweep_of_several_labels_has_the_bootstrap(home, tmp_path):
    call("sweep", sweep_of(home, "several"), "--local", "--report", tmp_path)
    again = json.loads(call("report", "sweep", "several-sweep", "--json").stdout)
    reference, other = again["rows"]
    assert again["metric"] == "eval/map"
    assert reference["p_bootstrap"] is None
    assert 0 < other["p_bootstrap"] <= 1
    assert other["p_mcnemar"] is None
    assert other["difference"] == pytest.approx(other["eval/map"] - reference["eval/map"], abs=1e-6)
    (page,) = tmp_path.glob("*.md")
    assert "mAP: mean ±" in page.read_text()


HEADS = (
    "index,correct,noun label,noun prediction,noun score,verb label,verb prediction,verb score\n"
    "4,0,cup,cup,0.5,take,put,0.4\n"
    "5,1,cup,cup,0.5,take,take,0.4\n"
    "7,0,,cup,0.5,take,take,0.4\n"
)


def test_what_is_correct_depends_on_the_metric():
    assert correct_predictions(HEADS, "eval/action_top1") == {4: False, 5: True}
    assert correct_predictions(HEADS, "eval/noun_top1") == {4: True, 5: True}
    assert correct_predictions(HEADS, "eval/verb_top1") == {4: False, 5: True}
    assert correct_predictions("index,labels,predictions,correct\n4,[],[],1\n", "eval/map") == {}
