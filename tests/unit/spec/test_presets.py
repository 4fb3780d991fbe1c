"""Names of the experiment files that come with the package: every command reads them as it reads the files."""

from pathlib import Path

import pytest
import yaml

from side4video.core.errors import InputError
from side4video.runs.sweep import sweep_key
from side4video.spec import presets
from side4video.spec.arm import load_sweep
from side4video.spec.load import is_sweep, load_experiment
from side4video.spec.presets import base_file, experiments_folder, near_presets, preset_file, preset_names, spec_file
from tiny import DOCUMENT, merged

FOLDER = Path(__file__).resolve().parents[3] / "experiments"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Nothing of the repository lies beside the command."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(file, document=DOCUMENT):
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text(yaml.safe_dump(document))
    return Path(file)


def test_each_file_has_a_name():
    assert experiments_folder() == FOLDER
    assert {FOLDER / f"{name}.yaml" for name in preset_names()} == set(FOLDER.rglob("*.yaml"))
    assert len(preset_names()) > 70
    assert preset_names()[0] == "quickstart"


def test_an_installed_package_holds_the_folder_itself(tmp_path, monkeypatch):
    write(tmp_path / "side4video/experiments/mine.yaml")
    monkeypatch.setattr(presets, "__file__", str(tmp_path / "side4video/spec/presets.py"))
    assert preset_names() == ("mine",)
    assert spec_file("mine") == tmp_path / "side4video/experiments/mine.yaml"


@pytest.mark.parametrize("name", preset_names())
def test_a_name_means_the_same_as_its_file(name):
    file = FOLDER / f"{name}.yaml"
    if is_sweep(name):
        assert sweep_key(load_sweep(name)) == sweep_key(load_sweep(file))
    else:
        assert load_experiment(name).digest() == load_experiment(file).digest()
        assert load_experiment(name, ["seed=7"]).seed == 7


def test_a_name_that_means_another_file_is_noticed():
    assert load_experiment("ssv2/vitb16").digest() != load_experiment(FOLDER / "ssv1/vitb16.yaml").digest()
    assert sweep_key(load_sweep("ablations/table9-b")) != sweep_key(load_sweep(FOLDER / "ablations/table9-c.yaml"))


# ---- a file of the same path


@pytest.mark.parametrize("name", ["quickstart", "ssv2/vitb16"])
def test_a_file_wins_over_a_name(name):
    write(name, merged(DOCUMENT, {"name": "mine"}))
    assert load_experiment(name).name == "mine"
    assert spec_file(name) == Path(name)


def test_a_folder_does_not_win(tmp_path):
    (tmp_path / "quickstart").mkdir()
    assert load_experiment("quickstart").name == "quickstart"


def test_errors_name_what_was_given():
    with pytest.raises(InputError, match=r"^ssv2/vitb16:\d+: method\.widht: unknown key"):
        load_experiment("ssv2/vitb16", ["method.widht=3"])
    with pytest.raises(InputError, match=r"fix: side4video sweep quickstart-sweep$"):
        load_experiment("quickstart-sweep")
    with pytest.raises(InputError, match=r"fix: side4video run quickstart$"):
        load_sweep("quickstart")


# ---- neither


@pytest.mark.parametrize(
    ("given", "first", "fix"),
    [
        ("ssv2/vit-b16", "ssv2/vitb16", "did you mean ssv2/vitb16?"),
        ("quikstart", "quickstart", "did you mean quickstart?"),
        ("experiments/ssv2/vitb16.yaml", "ssv2/vitb16", "did you mean ssv2/vitb16?"),
        ("ssv2/vitb16.yaml", "ssv2/vitb16", "did you mean ssv2/vitb16?"),
        ("./quickstart.yaml", "quickstart", "did you mean quickstart?"),
        ("vitl14-light", "ssv2/vitl14-light", "write the whole name"),
        ("table9-a", "ablations/table9-a", "write the whole name"),
        ("vitb16", "msrvtt/vitb16", "write the whole name"),
        ("msvd", "msvd/clip4clip-frozen-vitb32", "write the whole name"),
        ("comparisons/dist", "comparisons/dist-vitl14", "did you mean comparisons/dist-vitl14?"),
    ],
)
def test_near_names_are_listed(given, first, fix):
    assert near_presets(given)[0] == first
    with pytest.raises(InputError, match="no such file, and no preset has this name") as refused:
        spec_file(given)
    assert refused.value.exit_code == 2
    assert refused.value.allowed.startswith(f"a YAML file, or a preset: {first}")
    assert refused.value.fix == fix


def test_a_text_that_is_near_to_nothing_lists_nothing():
    assert near_presets("xyzzy") == []
    with pytest.raises(InputError, match=r"fix: check the path; `side4video presets` lists the names"):
        spec_file("xyzzy")
    with pytest.raises(InputError, match=r"^xyzzy: no preset has this name .* fix: choose one: side4video presets"):
        preset_file("xyzzy")


def test_a_near_file_is_told_first():
    write("quickstart-mine.yaml")
    with pytest.raises(InputError, match=r"no such file · allowed: .* · fix: did you mean quickstart-mine\.yaml\?$"):
        spec_file("quickstart-mind.yaml")


@pytest.mark.parametrize("given", ["../experiments/quickstart", "/quickstart", "ssv2/../quickstart", "", ".", "ssv2/"])
def test_a_name_is_no_path(given):
    with pytest.raises(InputError):
        spec_file(given)


# ---- the base of a sweep


def test_a_base_is_a_path_beside_the_sweep_or_a_preset():
    sweep = write("sweeps/few.yaml", {"name": "few", "base": "quickstart", "grid": {"method.layers": [1, 2]}})
    assert load_sweep(sweep).base_experiment == load_experiment("quickstart")
    write("sweeps/quickstart", merged(DOCUMENT, {"name": "mine"}))
    assert load_sweep(sweep).base_experiment.name == "mine"
    assert base_file(sweep, "quickstart") == (sweep.parent / "quickstart").resolve()


def test_a_base_that_is_neither_lists_near_names(tmp_path):
    sweep = write("few.yaml", {"name": "few", "base": "ssv1/vitb61", "grid": {"method.layers": [1, 2]}})
    with pytest.raises(InputError, match=r"ssv1/vitb61: no such file.* fix: did you mean ssv1/vitb16\?"):
        load_sweep(sweep)
