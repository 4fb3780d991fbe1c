"""Whole runs with TensorBoard and Weights & Biases beside the store: equal series, faults that are notes, resuming."""

import pytest
from click.testing import CliRunner

import sweeps
from side4video.cli.main import cli
from side4video.core.progress import SILENT
from side4video.runs.launch import launch
from side4video.runs.trainer import LocalTrainer
from side4video.tracking.file_store import FileStore
from side4video.tracking.pack_logger import PackLogger
from side4video.tracking.sinks.guard import FAILURE_PREFIX
from side4video.tracking.sinks.tensorboard import run_folder
from side4video.tracking.stores import open_store
from side4video.tracking.tags import NOTES_TAG
from sink_files import event_series, event_texts, wandb_series
from tiny import tiny

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A store of its own: another test may have trained the same experiment."""
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))


def places(folder):
    return [
        {"kind": "tensorboard", "folder": str(folder / "events")},
        {"kind": "wandb", "project": "tests", "folder": str(folder / "wandb")},
    ]


def recorded(store, run_id):
    return {key: [(each.step, each.value) for each in store.history(run_id, key)] for key in store.get(run_id).metrics}


def same(series, other):
    """Equal, bit by bit; NaN equals NaN."""
    return repr(sorted(series.items())) == repr(sorted(other.items()))


def test_a_run_has_the_same_series_in_all_places(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "ab12" * 10)
    spec = tiny(name="copied", tracking={"kind": "mlflow", "also": places(tmp_path)})
    done = launch({"tiny": spec}, progress=SILENT)["tiny"]
    expected = recorded(open_store(spec.tracking), done.run_id)
    assert len(expected) > 20
    folder = run_folder(tmp_path / "events", done.run_id, "copied")
    assert same(event_series(folder), expected)
    assert same(wandb_series(tmp_path / "wandb", done.run_id), expected)
    texts = event_texts(folder)
    assert "predictions.csv" in texts["artifacts"]
    assert "top-1" in texts["description"]
    assert done.notes == []
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not [file for file in written if b"ab12ab12" in file.read_bytes()]


def test_a_value_that_differs_is_noticed(tmp_path):
    """Of `same`: single precision would not do."""
    assert not same({"a": [(0, 0.1)]}, {"a": [(0, 0.10000000149011612)]})
    assert same({"a": [(0, float("nan"))]}, {"a": [(0, float("nan"))]})


def test_a_broken_place_leaves_the_run_finished_with_a_note(tmp_path):
    (tmp_path / "events").write_text("a file, where a folder should be")
    also = places(tmp_path)[:1]
    records = tmp_path / "records"
    spec = tiny(name="broken", tracking={"kind": "files", "folder": str(records), "also": also})
    (tmp_path / "spec.json").write_text(spec.model_dump_json())
    done = CliRunner().invoke(cli, ["run", str(tmp_path / "spec.json"), "--local"])
    assert done.exit_code == 0, done.output
    run = FileStore(records).find("broken")
    assert run.status == "FINISHED"
    assert run.tags[NOTES_TAG].startswith(f"{FAILURE_PREFIX}TensorBoard: ")
    assert FAILURE_PREFIX + "TensorBoard" in done.output
    assert FAILURE_PREFIX + "TensorBoard" in run.tags["mlflow.note.content"]


class Killed(RuntimeError):
    """As if the process ended between two epochs."""


class DyingTrainer(LocalTrainer):
    """Ends without a word after the first report."""

    def train(self, experiments, pack_logger, **options):
        log, reports = PackLogger.log, []

        class Dying(PackLogger):
            def log(self, metrics, notes=()):
                log(self, metrics, notes)
                reports.append(metrics)
                if len(reports) == 1:
                    raise Killed

        return super().train(experiments, Dying(pack_logger.store, pack_logger.run_ids), **options)


def test_a_resumed_run_has_each_point_once(tmp_path):
    tracking = {"kind": "files", "folder": str(tmp_path / "records"), "also": places(tmp_path)}
    spec = tiny(name="resumed", tracking=tracking, cluster={"storage": str(tmp_path / "runs")})
    with pytest.raises(Killed):
        launch({"tiny": spec}, progress=SILENT, trainer=DyingTrainer())
    done = launch({"tiny": spec}, progress=SILENT, resume=True)["tiny"]
    assert any("went on from step" in note for note in done.notes)
    expected = recorded(open_store(spec.tracking), done.run_id)
    assert len(expected["eval/top1"]) == 2
    (folder,) = (tmp_path / "events").iterdir()
    assert same(event_series(folder), expected)
    assert same(wandb_series(tmp_path / "wandb", done.run_id), expected)


def test_a_place_that_is_added_later_gets_the_whole_run(tmp_path):
    plain = {"kind": "files", "folder": str(tmp_path / "records")}
    cluster = {"storage": str(tmp_path / "runs")}
    with pytest.raises(Killed):
        launch({"tiny": tiny(tracking=plain, cluster=cluster)}, progress=SILENT, trainer=DyingTrainer())
    spec = tiny(tracking={**plain, "also": places(tmp_path)[:1]}, cluster=cluster)
    done = launch({"tiny": spec}, progress=SILENT, go_on=True)["tiny"]
    (folder,) = (tmp_path / "events").iterdir()
    assert same(event_series(folder), recorded(FileStore(tmp_path / "records"), done.run_id))


def test_each_arm_of_a_pack_has_its_own(tmp_path):
    tracking = {"kind": "files", "folder": str(tmp_path / "records"), "also": places(tmp_path)[:1]}
    _, result = sweeps.run(sweeps.make_sweep("copied", {"seed": 93, "tracking": tracking}))
    assert result.is_complete
    store = FileStore(tmp_path / "records")
    for run in result.sweep_logger.children().values():
        series = event_series(run_folder(tmp_path / "events", run.run_id, run.name))
        assert same(series, recorded(store, run.run_id))
    assert len(list((tmp_path / "events").iterdir())) == 5  # four arms and the sweep


@pytest.mark.alone
@pytest.mark.timeout(300)
def test_on_ray_the_series_are_equal_too(tmp_path):
    from side4video.distributed.trainer import launch_on_ray

    tracking = {"kind": "files", "folder": str(tmp_path / "records"), "also": places(tmp_path)}
    spec = tiny(name="far", tracking=tracking, cluster={"storage": str(tmp_path / "runs")})
    done = launch_on_ray({"tiny": spec}, progress=SILENT)["tiny"]
    expected = recorded(FileStore(tmp_path / "records"), done.run_id)
    assert done.notes == []
    assert same(event_series(run_folder(tmp_path / "events", done.run_id, "")), expected)
    assert same(wandb_series(tmp_path / "wandb", done.run_id), expected)
