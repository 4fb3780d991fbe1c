"""The wheel alone, in an empty folder: the presets are in it, and the commands of a first day work."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from installed_wheel import ROOT, build_wheel, call, install_wheel
from side4video.spec.load import load_experiment
from side4video.spec.presets import preset_names

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.alone,
    pytest.mark.skipif(sys.platform == "win32", reason="places of a virtual environment"),
]
FEW = (
    "data.dataset.train_clips=64",
    "data.dataset.test_clips=16",
    "optimization.length={epochs: 1}",
    "optimization.warmup={steps: 0}",
    "evaluation.every_epochs=1",
)
"""Settings of a demo that takes seconds."""
WHERE = """
import json, sys, side4video
from side4video.spec.presets import experiments_folder, preset_names
print(json.dumps([side4video.__file__, str(experiments_folder()), list(preset_names()), sys.path]))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The Python of a new virtual environment with the wheel in it."""
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed")
    place = tmp_path_factory.mktemp("wheel")
    return install_wheel(place, build_wheel(place))


@pytest.fixture
def side4video(python, tmp_path):
    """Calls the installed command in an empty folder, with an empty home."""
    folder, home = tmp_path / "empty", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    # No PYTHONPATH, and nothing of the user's.
    variables = {"PATH": f"{python.parent}:/usr/bin:/bin", "HOME": str(home), "COLUMNS": "80"}

    def run(*words, **options):
        return call(python.parent / "side4video", *words, cwd=folder, env=variables, **options)

    run.folder, run.variables = folder, variables
    return run


def test_the_package_and_its_presets_are_from_the_wheel(python, side4video):
    done = call(python, "-I", "-c", WHERE, cwd=side4video.folder, env=side4video.variables)
    package, experiments, names, paths = json.loads(done.stdout)
    own = Path(package).parent
    assert own.is_relative_to(python.parents[1])
    assert Path(experiments) == own / "experiments"
    assert tuple(names) == preset_names()
    assert not any(place.startswith(str(ROOT / "platform")) for place in paths)
    for name in names:
        assert (own / f"experiments/{name}.yaml").read_bytes() == (ROOT / f"experiments/{name}.yaml").read_bytes()


def test_the_commands_of_a_first_day(side4video):
    assert "presets" in side4video("--help").stdout
    listed = side4video("presets").stdout
    assert "ssv2/vitb16" in listed
    assert "Table 2: B/16" in listed
    assert "trained parameters       21,112,686" in side4video("plan", "ssv2/vitb16").stdout
    answer = json.loads(side4video("validate", "k400/vitb16-8f", "ablations/table9-b-f", "--no-files", "--json").stdout)
    assert [each["valid"] for each in answer] == [True, True]
    assert answer[0]["hash"] == load_experiment(ROOT / "experiments/k400/vitb16-8f.yaml").digest()
    side4video("presets", "copy", "quickstart", "-o", "my.yaml")
    assert "my.yaml: valid" in side4video("validate", "my.yaml").stdout
    side4video("presets", "copy", "ablations/table9-b-f", "-o", "sweeps/mine.yaml")
    assert "9 distinct arms" in side4video("validate", "sweeps/mine.yaml", "--no-files").stdout
    refused = side4video("plan", "ssv2/vitb61", check=False)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "did you mean ssv2/vitb16?" in refused.stderr
    assert sorted(path.name for path in side4video.folder.iterdir()) == ["my.yaml", "sweeps"]


def test_the_figure_of_the_papers_memory_finds_its_files(side4video):
    done = side4video("figure", "memory", "comparisons/linear-vitb16", "--out", "figures", "--json")
    rows = json.loads(done.stdout)["numbers"]
    assert any(row["planned_gib"] for row in rows)
    assert "memory.svg" in {path.name for path in (side4video.folder / "figures").iterdir()}


def test_the_demo_trains_and_writes_its_page(side4video):
    settings = [word for setting in FEW for word in ("--set", setting)]
    done = side4video("demo", *settings, "--json")
    assert [run["name"] for run in json.loads(done.stdout)] == ["quickstart", "linear-probe"]
    assert (side4video.folder / "build/demo/index.html").read_text().count("data:image/webp") == 6


def test_a_job_takes_a_preset_along(side4video):
    done = side4video("submit", "ablations/motion-asha", "--dry-run", "--json")
    answer = json.loads(done.stdout)
    assert sorted(answer["files"]) == ["documents/motion-asha.yaml", "documents/motion.yaml"]
    assert answer["entrypoint"] == "side4video sweep documents/motion-asha.yaml"


def test_a_wheel_without_the_folder_is_noticed(python, tmp_path):
    """The broken twin: the folder is forgotten, as by a build that knows nothing of it."""
    wheel = build_wheel(tmp_path, without=("experiments",))
    shutil.unpack_archive(wheel, tmp_path / "unpacked", "zip")
    assert not (tmp_path / "unpacked/side4video/experiments").exists()
    libraries = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
    variables = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(tmp_path / "unpacked")}
    code = "from side4video.cli.main import main; main()"
    done = call(python, "-c", code, "plan", "ssv2/vitb16", cwd=tmp_path, env=variables, check=False)
    assert Path(libraries, "side4video/experiments").is_dir()
    assert done.returncode == 2
    assert "no such file" in done.stderr
