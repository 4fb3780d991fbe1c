"""A run in MLflow's registry: loaded where the project is not, it says what `side4video.load` says, bit for bit."""

import json
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import side4video
from side4video.apps.export.command import export
from side4video.apps.export.register import register
from side4video.core.errors import InputError
from side4video.core.progress import SILENT
from side4video.runs.launch import launch
from side4video.tracking.mlflow.store import MLflowStore
from tiny import tiny

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

FRESH = """
import importlib.util, json, sys
sys.path[:] = [place for place in sys.path if not place.rstrip("/").endswith("platform")]
assert importlib.util.find_spec("side4video") is None, "the project is installed here"
import mlflow.pyfunc, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
table = model.predict(pandas.DataFrame({"video": sys.argv[2:]}), params={"top_k": 99})
import side4video
names = {module.split(".")[0] for module in sys.modules if not module.startswith("_")}
print(json.dumps({"rows": table.to_dict("records"), "from": side4video.__file__, "modules": sorted(names)}))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIDE4VIDEO_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        spec = tiny(name="registered", data={"views": {"clips": 2, "crops": 3}})
        yield launch({"tiny": spec}, progress=SILENT)["tiny"]


def registered(run, *options):
    done = CliRunner().invoke(register, [run.run_id, "--json", *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def first(run):
    return registered(run)


def client():
    from mlflow import MlflowClient

    uri = MLflowStore().uri
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@pytest.fixture(scope="module")
def logged(first):
    """The model's folder, brought from the store."""
    place = client().get_model_version_download_uri(first["name"], first["version"])
    return Path(place.removeprefix("file://"))


def in_a_fresh_process(folder, videos, cwd):
    """`python -I` sees neither the working folder nor PYTHONPATH; the code also takes an installed project away."""
    environment = {"PATH": "/usr/bin:/bin", "SIDE4VIDEO_HOME": str(cwd / "other"), "HOME": str(cwd)}
    return subprocess.run(
        [sys.executable, "-I", "-B", "-c", FRESH, str(folder), *videos],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=cwd,
        env=environment,
    )


@pytest.fixture(scope="module")
def answer(logged, tmp_path_factory):
    videos = [clip.path for clip in tiny().data.dataset.clips("test")][:5]
    done = in_a_fresh_process(logged, [*videos, "/none/such.mp4"], tmp_path_factory.mktemp("fresh"))
    assert done.returncode == 0, done.stderr
    return videos, json.loads(done.stdout.splitlines()[-1])


def test_the_same_scores_bit_for_bit(run, answer, tmp_path):
    videos, told = answer
    done = CliRunner().invoke(export, [run.run_id, str(tmp_path / "m"), "--with-backbone"], catch_exceptions=False)
    assert done.exit_code == 0
    expected = side4video.load(tmp_path / "m").predict([*videos, "/none/such.mp4"], top=99)
    assert [row["video"] for row in told["rows"]] == [each.video for each in expected]
    for row, each in zip(told["rows"], expected, strict=True):
        assert tuple(zip(row["labels"], row["scores"], strict=True)) == each.labels
        assert row["error"] == each.error
    best = told["rows"][0]
    assert (best["label"], best["score"]) == (best["labels"][0], best["scores"][0])
    assert told["rows"][-1]["labels"] == []
    assert "no such file" in told["rows"][-1]["error"]


def test_it_ran_the_code_that_was_logged(logged, answer):
    assert Path(answer[1]["from"]).is_relative_to(logged / "code")


def test_what_it_imports_is_pinned(logged, answer):
    """Every dependency of the project that the process imported stands in the requirements, with an exact version."""
    lines = (logged / "requirements.txt").read_text().splitlines()
    assert all("==" in line and "+" not in line for line in lines)
    pinned = {canonicalize_name(line.split("==")[0]) for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    known = metadata.packages_distributions()
    imported = {canonicalize_name(name) for module in answer[1]["modules"] for name in known.get(module, ())}
    assert "torch" in imported & ours
    if "transformers" in imported:  # open_clip imports it where it is installed, and it imports jinja2
        ours -= {"jinja2"}
    assert imported & ours <= pinned
    assert not {"ray", "optuna", "matplotlib"} & imported


def test_nothing_of_it_is_pickled_and_nothing_needless_is_logged(logged):
    kinds = {path.suffix for path in logged.rglob("*") if path.is_file()}
    assert kinds <= {"", ".py", ".yaml", ".txt", ".json", ".safetensors", ".md", ".j2", ".css", ".js", ".typed", ".pyi"}
    assert not list(logged.rglob("__pycache__"))


def test_a_changed_file_is_refused(logged, answer, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(logged, copy)
    weights = copy / "data" / "bundle" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    done = in_a_fresh_process(copy, answer[0][:1], tmp_path)
    assert done.returncode != 0
    assert "InputError" in done.stderr
    assert "its SHA-256 is not" in done.stderr


def test_twin_without_the_logged_code_does_not_load(logged, answer, tmp_path):
    """Else the fresh process would have found the project somewhere, and the tests above would prove nothing."""
    copy = tmp_path / "model"
    shutil.copytree(logged, copy)
    shutil.rmtree(copy / "code" / "side4video")
    done = in_a_fresh_process(copy, answer[0][:1], tmp_path)
    assert done.returncode != 0
    assert "No module named 'side4video'" in done.stderr


def test_the_signature_says_what_goes_in_and_out(logged):
    from mlflow.models import Model

    model = Model.load(str(logged))
    assert [column.name for column in model.signature.inputs] == ["video"]
    assert [each.name for each in model.signature.outputs] == ["video", "label", "score", "error", "labels", "scores"]
    assert [(each.name, each.default) for each in model.signature.params] == [("top_k", 5)]
    assert model.saved_input_example_info


def test_the_version_says_where_it_comes_from(run, first):
    version = client().get_model_version(first["name"], first["version"])
    record = MLflowStore().prepare().get(run.run_id)
    assert (first["name"], first["version"]) == ("registered", "1")
    assert version.run_id == run.run_id
    assert version.tags["run_id"] == run.run_id
    assert version.tags["backbone_sha256"] == record.tags["backbone_sha256"]
    assert float(version.tags["top1"]) == pytest.approx(record.metrics["best/top1"])
    assert 'load_model("models:/registered/latest")' in version.description
    assert "| `best/top1` |" in version.description
    found = client().get_logged_model(first["model_id"])
    assert (found.source_run_id, str(found.status)) == (run.run_id, "READY")


def test_registered_again_it_is_the_next_version(run, first):
    again = registered(run, "--weights", "last", "--without-backbone")
    assert (again["name"], again["version"]) == (first["name"], "2")
    assert again["model_id"] != first["model_id"]
    other = registered(run, "--name", "another")
    assert (other["name"], other["version"]) == ("another", "1")


def test_what_cannot_be_registered_is_said_in_a_line(run):
    with pytest.raises(InputError, match=r"^--name: `a/b`"):
        CliRunner().invoke(register, [run.run_id, "--name", "a/b"], catch_exceptions=False)
    with pytest.raises(InputError, match="no run has this name"):
        CliRunner().invoke(register, ["none-such"], catch_exceptions=False)


def test_a_table_without_videos_is_said_in_a_line():
    import pandas

    from side4video.apps.export.table import TableModel

    with pytest.raises(InputError, match="the table's columns: path · allowed: video"):
        TableModel(None).predict(pandas.DataFrame({"path": ["a"]}))
    with pytest.raises(InputError, match="top_k: 0"):
        TableModel(None).predict(pandas.DataFrame({"video": ["a"]}), {"top_k": 0})
