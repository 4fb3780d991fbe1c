"""Faults that someone found who tried to break the platform; each input here ended in a wrong answer or a traceback."""

import csv
import logging
import shutil
import sys

import pytest
import yaml
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from side4video.apps.doctor.machine_checks import check_home
from side4video.apps.doctor.store_check import check_store
from side4video.apps.export.bundled_run import bundle_run
from side4video.apps.serve.connection import is_a_fault
from side4video.cli.main import cli, main
from side4video.core.errors import InputError
from side4video.core.progress import SILENT, MessageProgress
from side4video.inference.trained_model import load
from side4video.runs.launch import launch
from side4video.tracking.mlflow.store import MLflowStore
from side4video.tracking.tags import NOTES_TAG, STATE_TAG
from sweeps import make_sweep, run
from tiny import DOCUMENT, tiny
from validation_clips import list_with_validation

pytestmark = pytest.mark.slow

EARLY = {"early_stopping": {"patience": 1, "least_change": 0.9}}
"""Ends after the second epoch: no value is better by 90 points."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    tiny().data.dataset.prepare()
    return list_with_validation(tmp_path_factory.mktemp("broken") / "clips")


def at(phase, **details):
    def stop(message):
        if message["phase"] == phase and all(message.get(key) == value for key, value in details.items()):
            raise KeyboardInterrupt

    return MessageProgress(stop)


@pytest.mark.parametrize("mode", ["resume", "go_on"])
def test_a_run_that_was_stopped_after_its_early_end_is_finished(dataset, mode):
    spec = tiny(
        name=f"early-{mode}", data={"dataset": dataset}, evaluation=EARLY, optimization={"length": {"epochs": 5}}
    )
    with pytest.raises(KeyboardInterrupt):
        launch({"a": spec}, progress=at("storing the results"))
    finished = launch({"a": spec}, progress=SILENT, **{mode: True})["a"]
    assert finished.state == "finished"
    assert finished.metrics["eval/epoch"] == 0
    assert [note for note in finished.notes if note.startswith("ended early, after epoch 2")]
    whole = tiny(
        name=f"whole-{mode}", data={"dataset": dataset}, evaluation=EARLY, optimization={"length": {"epochs": 5}}
    )
    undisturbed = launch({"a": whole}, progress=SILENT)["a"]
    for key in ("eval/top1", "eval/loss", "val/loss", "best_val/epoch"):
        assert finished.metrics[key] == undisturbed.metrics[key]


def test_arms_that_ended_early_go_on_and_each_has_its_own_note(dataset):
    own = {"data": {"dataset": dataset}, "seed": 111, "evaluation": EARLY, "optimization": {"length": {"epochs": 5}}}
    sweep = make_sweep("early-arms", {**own, "tracking": {"experiment": "early arms"}}, grid={"method.layers": [1, 2]})
    with pytest.raises(KeyboardInterrupt):
        run(sweep, progress=at("storing the results"))
    run(sweep)
    arms = [each for each in MLflowStore(experiment="early arms").prepare().runs() if "layers" in each.name]
    assert {each.tags[STATE_TAG] for each in arms} == {"finished"}
    for each in arms:
        ended = [note for note in each.tags[NOTES_TAG].split("\n") if "ended early" in note]
        assert ended == ["ended early, after epoch 2: the validation split gave no better value"]


def named_list(folder, names):
    (folder / "clips").mkdir(exist_ok=True)
    rows = [["path", "label", "split"]]
    for split, count in (("train", 20), ("test", 10)):
        for number, clip in enumerate(tiny().data.dataset.clips(split)[:count]):
            shutil.copy(clip.path, folder / "clips" / f"{split}{number}.mp4")
            rows.append([f"{split}{number}.mp4", names[clip.label % 3], split])
    with (folder / "clips" / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return {"kind": "list", "annotations": str(folder / "clips" / "list.csv")}


def test_a_model_keeps_the_class_names_that_it_was_trained_with(tmp_path):
    dataset = named_list(tmp_path, ["falling", "rising", "still"])
    spec = tiny(name="renamed-classes", data={"dataset": dataset}, optimization={"length": {"epochs": 1}})
    finished = launch({"a": spec}, progress=SILENT)["a"]
    video = str(tmp_path / "clips" / "test0.mp4")
    (before,) = load(finished.run_id).predict([video])
    named_list(tmp_path, ["aaa tumbling", "Astill", "rising"])
    (after,) = load(finished.run_id).predict([video])
    assert list(after.labels) == list(before.labels)
    _, bundle, _ = bundle_run(
        MLflowStore().prepare(), finished.run_id, tmp_path / "bundle", weights="chosen", with_backbone=False
    )
    assert bundle.classes == ("falling", "rising", "still")
    (tmp_path / "clips" / "list.csv").unlink()  # the model needs no list
    (gone,) = load(finished.run_id).predict([video])
    assert list(gone.labels) == list(before.labels)


def test_changed_weights_of_the_backbone_are_said_and_not_exported(tmp_path):
    file = tmp_path / "tower.safetensors"
    plain = tiny()
    tower = plain.backbone.build("cpu")
    save_file({name: each.contiguous() for name, each in tower.trunk.visual.state_dict().items()}, file)
    backbone = {"weights": {"kind": "file", "path": str(file)}}
    try:
        spec = tiny(name="changed-tower", backbone=backbone, optimization={"length": {"epochs": 1}})
        finished = launch({"a": spec}, progress=SILENT)["a"]
    except InputError as error:
        pytest.skip(f"a tower's own state is no file of weights here: {error}")
    save_file({name: each * 2 for name, each in load_file(file).items()}, file)
    printed = CliRunner().invoke(cli, ["evaluate", finished.run_id])
    assert printed.exit_code == 0, printed.output
    assert "the backbone's weights changed since the run began" in " ".join(printed.stdout.split())
    with pytest.raises(InputError, match="the backbone's weights changed"):
        bundle_run(MLflowStore().prepare(), finished.run_id, tmp_path / "bundle", weights="chosen", with_backbone=True)


@pytest.fixture(scope="module")
def trained():
    spec = tiny(name="for-places", optimization={"length": {"epochs": 1}})
    return launch({"a": spec}, progress=SILENT)["a"].run_id


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "RUN", "--predictions", "PLACE"],
        ["evaluate", "RUN", "--predictions", "/proc/p.csv"],
        ["export", "RUN", "/proc/exported"],
        ["report", "table2", "--out", "/proc/report"],
        ["presets", "copy", "ssv2/vitb16", "-o", "/proc/copy.yaml"],
    ],
    ids=" ".join,
)
def test_an_output_in_an_impossible_place_is_one_sentence(trained, tmp_path, monkeypatch, capsys, words):
    places = {"RUN": trained, "PLACE": str(tmp_path)}
    monkeypatch.setattr(sys, "argv", ["side4video", *(places.get(word, word) for word in words)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "fix: " in last


@pytest.mark.parametrize("command", ["presets", "evaluate"])
def test_a_link_to_nothing_is_not_replaced(trained, tmp_path, command):
    link = tmp_path / "link.yaml"
    link.symlink_to("/nonexistent/file.yaml")
    words = ["presets", "copy", "ssv2/vitb16", "-o"] if command == "presets" else ["evaluate", trained, "--predictions"]
    refused = CliRunner().invoke(cli, [*words, str(link)])
    assert isinstance(refused.exception, InputError)
    assert link.is_symlink()
    assert not link.exists()


def test_an_output_is_written_through_a_link(trained, tmp_path):
    (tmp_path / "real.csv").touch()
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    assert CliRunner().invoke(cli, ["evaluate", trained, "--predictions", str(tmp_path / "link.csv")]).exit_code == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert "prediction" in (tmp_path / "real.csv").read_text()


def test_doctor_sees_a_home_that_runs_refuse(tmp_path, monkeypatch):
    (tmp_path / "dangling").symlink_to("/nonexistent/home")
    (tmp_path / "file").touch()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("dangling", "file"):
        monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / name))
        assert check_home().status == "failed"
        assert check_store().status == "failed"


def test_a_link_is_another_spelling_of_a_path(tmp_path, monkeypatch):
    list_with_validation(tmp_path / "clips")
    (tmp_path / "link").symlink_to(tmp_path / "clips")
    monkeypatch.chdir(tmp_path)

    def spec(path):
        data = {"dataset": {"kind": "list", "annotations": path, "class_names": {"kind": "numbered", "count": 10}}}
        return tiny(name="linked", data=data, seed=112, optimization={"length": {"epochs": 1}})

    first = launch({"a": spec("clips/list.csv")}, progress=SILENT)["a"]
    assert launch({"a": spec("link/list.csv")}, progress=SILENT, go_on=True)["a"].run_id == first.run_id


def test_an_upload_that_a_shutdown_cuts_off_is_no_fault():
    def record(error):
        try:
            raise error
        except BaseException:
            return logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, "Exception", (), sys.exc_info())

    import asyncio

    assert not is_a_fault(record(asyncio.CancelledError()))
    assert not is_a_fault(record(KeyboardInterrupt()))
    assert is_a_fault(record(ValueError("a bug")))
    assert is_a_fault(logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, "plain", (), None))


def test_a_smoke_test_resumes_nothing(tmp_path):
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(DOCUMENT))
    refused = CliRunner().invoke(cli, ["run", str(tmp_path / "a.yaml"), "--smoke", "--resume"])
    assert "--smoke" in str(refused.exception)
