"""An exported model in an environment that has this package from its wheel and nothing of this checkout."""

import json
import shutil
from pathlib import Path

import pytest

import side4video
from exported import exported
from installed_wheel import build_wheel, call, install_wheel
from tiny import tiny

pytestmark = [pytest.mark.slow, pytest.mark.long]

ROOT = Path(__file__).resolve().parents[2]


def quiet(message):
    pass


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The Python of a new virtual environment with the wheel in it, and the libraries that are installed here."""
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed")
    place = tmp_path_factory.mktemp("fresh")
    return install_wheel(place, build_wheel(place))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An exported run with all that it needs."""
    return exported(tmp_path_factory.mktemp("fresh"), "fresh")


PREDICT = """
import json, sys, side4video
assert side4video.__file__.startswith(sys.prefix), side4video.__file__
assert not any(place.startswith(sys.argv[1]) for place in sys.path), sys.path
model = side4video.load(sys.argv[2])
print(json.dumps([each.labels for each in model.predict(sys.argv[3:], top=99)]))
"""


def ask(python, folder, videos, home, **options):
    # -I: no PYTHONPATH, and not the folder it starts in.
    variables = {"PATH": "/usr/bin:/bin", "HOME": str(home), "SIDE4VIDEO_HOME": str(home / "side4video")}
    command = (python, "-I", "-c", PREDICT, ROOT / "platform", folder, *videos)
    return call(*command, cwd=home, env=variables, **options)


def test_its_predictions_are_bit_equal(environment, folder, tmp_path):
    videos = [clip.path for clip in tiny().data.dataset.clips("test")[:7]]
    found = json.loads(ask(environment, folder, videos, tmp_path).stdout)
    expected = [[list(label) for label in each.labels] for each in side4video.load(folder).predict(videos, top=99)]
    assert found == expected
    assert len({json.dumps(labels) for labels in found}) == len(videos)


def test_a_flipped_byte_in_any_file_is_refused_there(environment, folder, tmp_path):
    copy = tmp_path / "copy"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["README.md", "backbone.safetensors", "bundle.json", "spec.json", "weights.safetensors"]
    for name in names:
        shutil.copytree(folder, copy)
        content = bytearray((copy / name).read_bytes())
        # A digit of bundle.json, so that it stays JSON.
        place = content.index(b'"format": 1') + 10 if name == "bundle.json" else len(content) // 2
        content[place] ^= 1
        (copy / name).write_bytes(content)
        done = ask(environment, copy, ["a.mp4"], tmp_path, check=False)
        assert done.returncode != 0
        assert f"{name}: its SHA-256 is not" in done.stderr.strip().splitlines()[-1]
        shutil.rmtree(copy)


def test_the_wheel_has_the_command_and_no_other_package(environment, tmp_path):
    done = call(environment.parent / "side4video", "--version", cwd=tmp_path)
    assert side4video.__version__ in done.stdout
    done = call(environment, "-m", "pip", "show", "-f", "side4video")
    files = [line.strip() for line in done.stdout.partition("Files:")[2].splitlines() if line.strip()]
    assert {name.split("/")[0] for name in files if not name.startswith("../")} == {
        "side4video",
        f"side4video-{side4video.__version__}.dist-info",
    }
