"""Runs of several labels and several heads from the command line: what works, and what refuses in a sentence."""

import csv
import json
import re

import pytest
import yaml
from click.testing import CliRunner

from label_sets import TASKS, make_labelled_list, write_spec
from side4video.cli.main import cli
from side4video.core.errors import InputError
from side4video.tasks.metrics import summary
from side4video.tracking.stores import store_at
from tiny import DOCUMENT, merged

NAMES = ("several", "heads")
REFUSED = {
    "predict {run} {video} --calibrated": "whose scores have no temperature · allowed: recognition",
    "zero-shot {run}": "allowed: recognition",
    "examples {run}": "allowed: retrieval",
    "search {run} text {clips}": "allowed: retrieval",
    "figure per-class {run} --out {out}": "allowed: a run of action recognition",
    "figure confusion {run} --out {out}": "allowed: a run of action recognition",
    "figure calibration {run} --out {out}": "allowed: a run of action recognition",
}
WORKS = (
    "validate {spec}",
    "plan {spec}",
    "data check {spec}",
    "figure curves {run} --out {out}",
    "figure step-time {run} --out {out}",
    "report run {run} --out {out}.html",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIDE4VIDEO_HOME", str(folder / "home"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        listed = make_labelled_list(folder / "clips")
        for name in NAMES:
            write_spec(folder / f"{name}.yaml", name, listed)
            done = call("run", folder / f"{name}.yaml", "--local")
            assert done.exit_code == 0, done.output
            assert "side4video predict" in done.output
        yield folder


def call(*words):
    return CliRunner().invoke(cli, [str(word) for word in words])


def filled(command, home, run):
    places = {"clips": home / "clips/train", "spec": home / f"{run}.yaml", "out": home / f"out-{run}"}
    video = home / "clips/train/0.mp4"
    return [word.format(run=run, video=video, **places) for word in command.split()]


@pytest.mark.parametrize("run", NAMES)
@pytest.mark.parametrize("command", WORKS)
def test_it_works(home, run, command):
    done = call(*filled(command, home, run))
    assert done.exit_code == 0, (done.output, done.exception)
    if command.startswith("data check"):
        assert "no training clip" not in done.output


@pytest.mark.parametrize("run", NAMES)
@pytest.mark.parametrize("command", REFUSED)
def test_it_refuses_in_a_sentence(home, run, command):
    done = call(*filled(command, home, run))
    # The command line prints such an error as one line and ends with code 2.
    assert isinstance(done.exception, InputError), (done.output, done.exception)
    assert REFUSED[command] in str(done.exception)


@pytest.mark.parametrize("run", NAMES)
def test_it_is_evaluated_again(home, run):
    done = call("evaluate", run, "--json", "--predictions", home / f"{run}.csv")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    with (home / f"{run}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == answer["videos"] == 4
    names = {"several": {"eval/map", "eval/map_micro"}, "heads": {"eval/action_top1", "eval/verb_top5"}}[run]
    assert names < set(answer["metrics"])
    assert answer["class_accuracy"] == {}
    assert bool(answer.get("class_average_precision")) == (run == "several")


def test_attention_names_the_best_class_of_labels_or_of_each_head(home):
    answers = []
    for run in NAMES:
        done = call("attention", run, home / "clips/train/0.mp4", "--out", home / "maps", "--json")
        assert done.exit_code == 0, done.exception
        answers.append(json.loads(done.stdout)["videos"][0]["answer"])
    assert re.fullmatch(r"(falling|fast|rising|slow) \d+%", answers[0])
    assert re.fullmatch(r"(cup|plate) \d+%, (take|put|wash) \d+%", answers[1])


def test_other_classes_of_a_head_are_refused(home):
    names = "{noun: {kind: given, names: [plate, cup]}, verb: {kind: given, names: [take, put, wash]}}"
    done = call("evaluate", "heads", "--set", f"data.dataset.head_class_names={names}")
    assert "the classes of noun in the data are not those that it was trained with" in str(done.exception)


def test_classes_in_another_order_are_brought_into_it(home):
    names = "{kind: given, names: [slow, rising, fast, falling]}"
    values = [
        json.loads(call("evaluate", "several", "--json", *more).stdout)["metrics"]["eval/map"]
        for more in ((), ("--set", f"data.dataset.class_names={names}"))
    ]
    assert values[0] == pytest.approx(values[1])  # a mean over classes in another order


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"task": TASKS["several"]}, "clips do not say all their classes"),
        ({"task": TASKS["heads"]}, "clips do not say a class of each head"),
        ({"task": TASKS["several"], "data": {"augmentation": {"mix": {"kind": "mixup"}}}}, "a mixed clip has no one"),
        ({"task": TASKS["heads"], "method": {"kind": "zero-shot"}}, "the classifiers of multi-head are linear"),
    ],
)
def test_documents_that_do_not_fit(tmp_path, changes, found):
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(merged(DOCUMENT, changes)))
    done = call("validate", tmp_path / "spec.yaml")
    assert found in f"{done.output} {done.exception}"
    assert done.exit_code != 0


def test_recognition_needs_the_one_label(tmp_path):
    (tmp_path / "list.csv").write_text("path,tags,split\na.mp4,x;y,train\nb.mp4,y,test\n")
    listed = {"kind": "list", "annotations": str(tmp_path / "list.csv"), "columns": {"labels": "tags"}}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(merged(DOCUMENT, {"data": {"dataset": listed}})))
    done = call("validate", tmp_path / "spec.yaml")
    assert "its clips have no one label" in f"{done.output} {done.exception}".replace("\n", " ")


OTHER = "choose another data set, or task: "
LIST = "path,{column},split\na.mp4,{cell},train\nb.mp4,{cell},test\n"


@pytest.mark.parametrize(
    ("task", "column", "fields", "fix"),
    [
        ("multi-label", "verb", {"label_columns": {"verb": "verb"}}, f"{OTHER}{{kind: multi-head}}"),
        ("multi-head", "tags", {"columns": {"labels": "tags"}}, f"{OTHER}{{kind: multi-label}}"),
        ("multi-head", "label", {}, f"{OTHER}{{kind: recognition}}"),
        ("multi-label", "label", {}, f"{OTHER}{{kind: recognition}}"),
        (
            "multi-label",
            "tags",
            {"columns": {"label": "tags"}},
            "data.dataset.columns: {labels: tags}, not label",
        ),
    ],
)
def test_the_task_that_labels_are_for(tmp_path, task, column, fields, fix):
    listed = tmp_path / "list.csv"
    listed.write_text(LIST.format(column=column, cell="x;y"), encoding="utf-8")
    dataset = {"kind": "list", "annotations": str(listed), **fields}
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(merged(DOCUMENT, {"task": {"kind": task}, "data": {"dataset": dataset}})))
    done = call("validate", file)
    assert done.exit_code == 2
    assert f"fix: {fix}" in " ".join(f"{done.output} {done.exception}".split())


def test_the_top1_of_each_head_is_told(home):
    """In the table of the terminal, in the description of the run, and beside chance on its page."""
    run = store_at("").find("heads")
    assert [metric.title for key, metric in summary(dict(run.metrics)).items()][-2:] == ["noun top-1", "verb top-1"]
    assert re.search(r"\*\* action top-1|\*\*.*action top-1\*\*", run.tags["mlflow.note.content"])
    assert "noun top-1" in run.tags["mlflow.note.content"]
    assert "By chance: action top-1 16.7%" in call("evaluate", "heads").output
    page = home / "heads.html"
    assert call("report", "run", "heads", "--out", page).exit_code == 0
    text = next(page.rglob("*.html")).read_text(encoding="utf-8")
    assert '<td class="number">33.3%</td>' in text  # a verb of three
