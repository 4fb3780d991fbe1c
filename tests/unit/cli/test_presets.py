"""`side4video presets`: the list, and copies that mean the same as their originals."""

import io
import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from rich.cells import cell_len

from side4video.cli.main import cli
from side4video.cli.presets import copied_text, tables
from side4video.core.errors import InputError
from side4video.runs.sweep import sweep_key
from side4video.spec.arm import load_sweep
from side4video.spec.load import is_sweep, load_experiment
from side4video.spec.presets import descriptions, experiments_folder, preset_file, preset_names
from side4video.terminal.console import PlainConsole

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words):
    return CliRunner().invoke(cli, ["presets", *words])


def meaning(file):
    return sweep_key(load_sweep(file)) if is_sweep(file) else load_experiment(file).digest()


# ---- the list


def test_the_list_has_each_name_with_its_figures():
    rows = {row["name"]: row for row in json.loads(call("--json").stdout)}
    assert set(rows) == set(preset_names())
    ours = rows["ssv2/vitb16"]
    assert (ours["command"], ours["paper"], ours["needs"], ours["arms"]) == ("run", "Table 2: B/16", ["SSV2"], 1)
    assert ours["trainable_parameters"] == 21_112_686  # as the file's own comment counts
    assert ours["peak_memory_gib"] == pytest.approx(2.26, abs=0.01)
    assert rows["ablations/table9-b-f"]["arms"] == 9
    assert rows["ablations/table9-b-f"]["paper"] == "Table 9 b to f"
    assert rows["quickstart"]["paper"] == ""


def printed(rows, columns):
    console = PlainConsole(width=columns, file=io.StringIO())
    console.print(tables(rows))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("columns", [80, 120])
def test_the_list_fits_a_terminal(columns):
    known = descriptions()
    lines = printed([(name, known[name]) for name in preset_names()], columns)
    assert max(map(cell_len, lines)) <= columns
    assert sum(line.startswith("name ") for line in lines) == 2  # two tables, each of one block
    whole = {line.split()[0] for line in lines if line.strip()}
    broken = {name for name in preset_names() if name not in whole}
    assert len(broken) <= (1 if columns == 80 else 0)


def test_a_file_without_a_description_is_listed():
    (line,) = [line for line in printed([("mine/new", None), ("quickstart", None)], 80) if line.startswith("mine/new")]
    assert line.split() == ["mine/new"]


def test_the_list_reads_no_document(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a YAML file is read")

    monkeypatch.setattr(yaml, "load", refuse)
    monkeypatch.setattr("side4video.spec.load._load", refuse)
    assert call().exit_code == 0


# ---- show


def test_show_prints_the_file():
    assert call("show", "ssv2/vitb16").stdout == preset_file("ssv2/vitb16").read_text()


@pytest.mark.parametrize("command", ["show", "copy"])
def test_a_wrong_name_lists_near_ones(command):
    refused = call(command, "ssv2/vitb61").exception
    assert isinstance(refused, InputError)
    assert "did you mean ssv2/vitb16?" in str(refused)


# ---- copy


@pytest.mark.parametrize("name", preset_names())
def test_a_copy_means_the_same(name, tmp_path):
    done = call("copy", name, "-o", "mine/copy.yaml")
    assert done.stdout == "written: mine/copy.yaml\n", done.exception
    text = Path("mine/copy.yaml").read_text()
    assert meaning("mine/copy.yaml") == meaning(name)
    assert f"# A copy of the preset {name} of side4video" in text
    assert "../" not in text
    assert "experiments/" not in text
    first = text.splitlines()[0]
    assert Path(first.partition("$schema=file://")[2]).is_file()


def test_a_copy_of_a_sweep_with_the_paths_of_the_original_would_fail(tmp_path):
    """The broken twin: the file as it is, in another folder."""
    Path("copy.yaml").write_text(preset_file("ablations/table9-b").read_text())
    with pytest.raises(InputError, match="no such file"):
        load_sweep("copy.yaml")


def test_a_copy_names_itself_and_other_presets_in_its_comment():
    text = copied_text("ssv1/vitb16", preset_file("ssv1/vitb16").read_text(), Path("my dir/a.yaml"))
    assert "side4video plan my dir/a.yaml" in text
    assert "side4video sweep ablations/table9-b-f\n" in text


def test_nothing_is_replaced_without_force():
    assert call("copy", "quickstart").stdout == "written: quickstart.yaml\n"
    Path("quickstart.yaml").write_text("mine")
    refused = call("copy", "quickstart").exception
    assert isinstance(refused, InputError)
    assert "quickstart.yaml exists" in str(refused)
    assert Path("quickstart.yaml").read_text() == "mine"
    assert call("copy", "quickstart", "--force").exit_code == 0
    assert load_experiment("quickstart.yaml").name == "quickstart"


@pytest.mark.parametrize("place", [".", "taken/a.yaml"])
def test_a_place_that_cannot_be_written_is_told(place):
    Path("taken").write_text("a file")
    refused = call("copy", "quickstart", "-o", place).exception
    assert isinstance(refused, InputError)
    assert refused.where == "--out"


# ---- other commands take names


@pytest.mark.parametrize(
    "words",
    [
        ("validate", "ssv2/vitb16", "ablations/table9-b-f", "--no-files"),
        ("plan", "quickstart"),
        ("submit", "quickstart", "--dry-run"),
    ],
)
def test_commands_take_names(words):
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("command", ["run", "plan", "sweep", "validate", "submit", "zero-shot"])
def test_commands_say_which_names_are_near(command):
    done = CliRunner().invoke(cli, [command, "ssv2/vitb61"])
    text = f"{done.output}{done.exception}"
    assert "did you mean ssv2/vitb16?" in text
    assert done.exit_code == 2 or isinstance(done.exception, InputError)


def test_the_examples_of_the_folder_are_those_of_the_checkout():
    assert experiments_folder() == ROOT / "experiments"
