"""A run or an arm that is continued on other data than it began with: refused, or begun anew, and never mixed."""

import json
import os
import shutil

import pytest
from click.testing import CliRunner

from side4video.cli.main import cli
from side4video.core.errors import InputError
from side4video.core.progress import SILENT, MessageProgress
from side4video.runs.launch import launch
from side4video.tracking.mlflow.store import MLflowStore
from side4video.tracking.tags import FINGERPRINT_TAG, WEIGHTS_TAG
from sweeps import make_sweep, run
from tiny import tiny

pytestmark = pytest.mark.slow


def insert(folder, lines):
    shutil.copy(folder / "train3.mp4", folder / "new.mp4")
    return [lines[0], "new.mp4,0,train", *lines[1:]]


def remove(folder, lines):
    return [line for line in lines if not line.startswith("train2.mp4")]


def replace_clip(folder, lines):
    (folder / "test1.mp4").write_bytes((folder / "test1.mp4").read_bytes() + bytes(8))
    return lines


def rename_class(folder, lines):
    names = (folder / "classes.txt").read_text().splitlines()
    (folder / "classes.txt").write_text("\n".join([*names[:-1], "another"]) + "\n")
    return lines


def relabel(folder, lines):
    return [line.replace("train4.mp4,4", "train4.mp4,5") for line in lines]


def spell_otherwise(folder, lines):
    os.utime(folder / "train0.mp4", (1, 1))
    return [f"./{line}" if line.startswith("train1") else line for line in lines]


CHANGES = {
    "inserted": insert,
    "removed": remove,
    "replaced": replace_clip,
    "relabelled": relabel,
    "class-renamed": rename_class,
}


def write_list(folder):
    plain, rows = tiny(), ["path,label,split"]
    for split, count in (("train", 20), ("test", 10)):
        for number, clip in enumerate(plain.data.dataset.clips(split)[:count]):
            shutil.copy(clip.path, folder / f"{split}{number}.mp4")
            rows.append(f"{split}{number}.mp4,{clip.label},{split}")
    (folder / "list.csv").write_text("\n".join(rows) + "\n")
    (folder / "classes.txt").write_text("".join(f"class {number}\n" for number in range(10)))
    names = {"kind": "file", "path": str(folder / "classes.txt")}
    return {"kind": "list", "annotations": str(folder / "list.csv"), "class_names": names}


def change_list(folder, change):
    lines = (folder / "list.csv").read_text().splitlines()
    (folder / "list.csv").write_text("\n".join(change(folder, lines)) + "\n")


def interrupt(message):
    if message["phase"] == "evaluated":
        raise KeyboardInterrupt


@pytest.fixture
def folder(tmp_path):
    tiny().data.dataset.prepare()
    (tmp_path / "clips").mkdir()
    return tmp_path / "clips"


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_is_not_resumed_on_other_data(folder, change):
    spec = tiny(name=f"changed-{change}", data={"dataset": write_list(folder)}, seed=90)
    with pytest.raises(KeyboardInterrupt):
        launch({"tiny": spec}, progress=MessageProgress(interrupt))
    change_list(folder, CHANGES[change])
    with pytest.raises(InputError, match="the data set changed since the run began: its fingerprint was"):
        launch({"tiny": spec}, progress=SILENT, resume=True)
    (before,) = MLflowStore().prepare().runs(name=spec.name)
    assert before.status == "KILLED"
    assert launch({"tiny": spec}, progress=SILENT)["tiny"].run_id != before.run_id  # without --resume it is a new run


def test_a_run_is_not_resumed_on_other_weights(folder):
    """The tag of the weights, not the tower in memory: nothing is loaded, and no failed run is left behind."""
    spec = tiny(name="changed-weights", data={"dataset": write_list(folder)}, seed=93)
    with pytest.raises(KeyboardInterrupt):
        launch({"tiny": spec}, progress=MessageProgress(interrupt))
    store = MLflowStore().prepare()
    (before,) = store.runs(name=spec.name)
    store.set_tags(before.run_id, {WEIGHTS_TAG: "file:0123456789abcdef"})
    with pytest.raises(InputError, match="the backbone's weights changed since the run began: they were file:0123"):
        launch({"tiny": spec}, progress=SILENT, resume=True)
    assert store.get(before.run_id).status == "KILLED"


def test_a_run_is_resumed_where_only_times_and_spellings_changed(folder):
    spec = tiny(name="spelt", data={"dataset": write_list(folder)}, seed=91)
    with pytest.raises(KeyboardInterrupt):
        launch({"tiny": spec}, progress=MessageProgress(interrupt))
    change_list(folder, spell_otherwise)
    (before,) = MLflowStore().prepare().runs(name=spec.name)
    assert launch({"tiny": spec}, progress=SILENT, resume=True)["tiny"].run_id == before.run_id


@pytest.mark.parametrize("change", [*CHANGES, "spelt otherwise"])
def test_an_arm_begins_anew_on_other_data(folder, change):
    grid = {"grid": {"optimization.learning_rate": [1e-3, 1e-4]}}
    own = {"data": {"dataset": write_list(folder)}, "seed": 92, "tracking": {"experiment": f"sweep {change}"}}
    sweep = make_sweep("changed-sweep", own, **grid)
    with pytest.raises(KeyboardInterrupt):
        run(sweep, progress=MessageProgress(interrupt))
    store = MLflowStore(experiment=f"sweep {change}").prepare()
    arms = "attributes.run_name LIKE '%learning_rate%'"
    before = {each.run_id: each for each in store.runs(arms)}
    assert len(before) == 2
    change_list(folder, CHANGES.get(change, spell_otherwise))
    run(sweep)
    after = {each.run_id: each for each in store.runs(arms)}
    finished = [each for each in after.values() if each.status == "FINISHED"]
    assert len(finished) == 2
    if change == "spelt otherwise":
        assert after.keys() == before.keys()
        return
    assert not {each.run_id for each in finished} & before.keys()
    assert {after[run_id].status for run_id in before} == {"KILLED"}
    old, new = ({each.tags[FINGERPRINT_TAG] for each in some} for some in (before.values(), finished))
    assert len(old) == len(new) == 1
    assert old != new
    for each in finished:
        steps = [metric.step for metric in store.history(each.run_id, "eval/top1")]
        assert len(steps) == len(set(steps)) == 2  # both epochs are its own


@pytest.mark.parametrize("change", ["replaced", "nothing"])
def test_an_evaluation_on_changed_data_is_marked(folder, change):
    dataset = write_list(folder)
    spec = tiny(name=f"evaluated-{change}", data={"dataset": dataset})
    finished = launch({spec.name: spec}, progress=SILENT)[spec.name]
    if change == "replaced":
        change_list(folder, replace_clip)
    printed = CliRunner().invoke(cli, ["evaluate", finished.run_id])
    answer = json.loads(CliRunner().invoke(cli, ["evaluate", finished.run_id, "--json"]).stdout)
    assert printed.exit_code == 0, printed.output
    is_same = answer["dataset_fingerprint"] == answer["dataset_fingerprint_of_run"]
    assert is_same == (change == "nothing")
    text = " ".join(printed.stdout.split())
    assert ("These are not the run's data" in text) == (change == "replaced")
    if change == "replaced":
        assert answer["dataset_fingerprint"][:12] in text
        assert answer["dataset_fingerprint_of_run"][:12] in text
