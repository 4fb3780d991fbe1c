"""The command line from outside: exit codes, one-line errors, JSON that is nothing but JSON."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.exceptions import Abort
from click.testing import CliRunner

from side4video.cli.listing import list_kinds
from side4video.cli.main import COMMANDS, OTHER_NAMES, cli, continuation, main
from side4video.cli.plan import plan
from side4video.cli.schema import schema
from side4video.cli.validate import validate
from side4video.core.errors import Terminated
from tiny import DOCUMENT, merged

ROOT = Path(__file__).resolve().parents[3]
SPECS = sorted(ROOT.glob("experiments/**/*.yaml"))


def write(tmp_path, **changes):
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(merged(DOCUMENT, changes)))
    return str(file)


def side4video(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "side4video", *arguments], capture_output=True, text=True, timeout=120, cwd=cwd
    )


def test_wrong_spec_from_outside(tmp_path):
    done = side4video("validate", write(tmp_path, method={"widht": 3}), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert "method.widht" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_spec_in_run_is_the_same_line(tmp_path):
    done = side4video("run", write(tmp_path, method={"layers": 9}), "--local", cwd=tmp_path)
    assert done.returncode == 2
    assert "layers 9" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["frobnicate"], ["run"], ["run", "a.yaml", "--what"], ["validate"]])
def test_wrong_calls(arguments):
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2


def test_every_command_has_help():
    for command in COMMANDS:
        result = CliRunner().invoke(cli, [command, "--help"])
        assert result.exit_code == 0, command
        assert len(result.output.splitlines()) > 3


def test_validate(tmp_path):
    good = write(tmp_path)
    result = CliRunner().invoke(validate, [good, "--json"])
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert answer[0]["valid"]
    assert len(answer[0]["hash"]) == 64
    result = CliRunner().invoke(validate, [good, "no.yaml", "--json"])
    assert result.exit_code == 2
    assert [entry["valid"] for entry in json.loads(result.stdout)] == [True, False]


def test_validate_imports_nothing_heavy(tmp_path):
    code = (
        "import sys; from click.testing import CliRunner; from side4video.cli.validate import validate\n"
        f"CliRunner().invoke(validate, [{write(tmp_path)!r}], catch_exceptions=False)\n"
        "print([name for name in ('torch', 'open_clip', 'mlflow', 'ray', 'decord', 'av') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_plan_and_budget(tmp_path):
    file = write(tmp_path)
    figures = json.loads(CliRunner().invoke(plan, [file, "--json"]).stdout)
    for key in (
        "trainable_parameters",
        "multiply_adds",
        "views",
        "held_for_backward_gib",
        "peak_memory_gib",
        "peak_memory_parts_gib",
    ):
        assert key in figures
    assert figures["peak_memory_gib"] == pytest.approx(sum(figures["peak_memory_parts_gib"].values()))
    over = CliRunner().invoke(plan, [file, "--budget-gib", "0.000001"])
    assert over.exit_code == 1
    assert "over budget" in over.stderr
    assert CliRunner().invoke(plan, [file, "--budget-gib", "64"]).exit_code == 0


def test_schema_is_json():
    assert json.loads(CliRunner().invoke(schema).stdout)["title"] == "Experiment"


def test_list():
    methods = json.loads(CliRunner().invoke(list_kinds, ["methods", "--json"]).stdout)
    assert {"side4video", "linear"} <= {entry["kind"] for entry in methods}
    assert all(entry["summary"] for entry in methods)
    assert "side network" in CliRunner().invoke(list_kinds, ["methods"]).output
    packable = {entry["kind"]: entry["packable"] for entry in methods}
    assert packable["side4video"]
    assert not packable["aim"]
    assert "alone" in CliRunner().invoke(list_kinds, ["methods"]).output
    assert "packable" not in CliRunner().invoke(list_kinds, ["tasks", "--json"]).stdout


def test_there_are_specs():
    assert len(SPECS) >= 8


@pytest.mark.parametrize("file", SPECS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_spec_is_valid(file):
    result = CliRunner().invoke(validate, [str(file), "--no-files"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("arguments", "way"),
    [
        (["run", "a b.yaml", "--seed", "1"], "side4video run 'a b.yaml' --seed 1 --go-on"),
        (["-v", "run", "a.yaml", "--resume"], "side4video -v run a.yaml --go-on"),
        (["run", "a.yaml", "--go-on"], "side4video run a.yaml --go-on"),
        (["run", "a.yaml", "--smoke"], ""),
        (["sweep", "s.yaml", "--local"], "side4video sweep s.yaml --local"),
        (["data", "pack", "a.yaml", "out"], "side4video data pack a.yaml out"),
        (["data", "check", "a.yaml"], ""),
        (["predict", "run", "a.mp4"], ""),
        ([], ""),
    ],
)
def test_a_stopped_command_says_how_to_go_on(arguments, way):
    assert continuation(arguments) == way


@pytest.mark.parametrize("kind", [KeyboardInterrupt, Abort])
def test_ctrl_c_says_what_is_kept(monkeypatch, capsys, kind):
    """Click makes an `Abort` of it."""

    def stopped(**_):
        try:
            raise KeyboardInterrupt("kept: the checkpoint of epoch 3, step 15")
        except KeyboardInterrupt as stop:
            if kind is KeyboardInterrupt:
                raise
            raise kind from stop

    monkeypatch.setattr(cli, "main", stopped)
    monkeypatch.setattr("sys.argv", ["side4video", "sweep", "a.yaml"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 130
    said = "interrupted · kept: the checkpoint of epoch 3, step 15 · continue with: side4video sweep a.yaml\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("vlidate", "Did you mean 'validate'?"),
        ("evalute", "Did you mean 'evaluate'?"),
        ("predct", "Did you mean 'predict'?"),
        ("train", "Did you mean 'run'?"),
        ("zzz", "side4video --help lists them."),
    ],
)
def test_a_misspelt_command_says_which_one_is_meant(name, said):
    done = CliRunner().invoke(cli, [name, "a.yaml"])
    assert done.exit_code == 2
    assert f"No such command '{name}'. {said}" in done.output


def test_names_of_other_tools_are_no_commands_and_name_some():
    assert not set(OTHER_NAMES) & set(COMMANDS)
    assert set(OTHER_NAMES.values()) <= set(COMMANDS)
    assert CliRunner().invoke(cli, ["validate", "--help"]).exit_code == 0
    assert "Did you mean 'check'" in CliRunner().invoke(cli, ["data", "chek"]).output


def test_ctrl_c_says_how_to_go_on(monkeypatch, capsys):
    def stopped(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", stopped)
    monkeypatch.setattr("sys.argv", ["side4video", "run", "a.yaml"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 130
    assert capsys.readouterr().err == "interrupted · continue with: side4video run a.yaml --go-on\n"


def test_a_stop_that_a_library_wrapped_is_no_traceback(monkeypatch, capsys):
    def wrapped(**_):
        raise SystemError("<built-in method __new__> returned a result with an exception set") from Terminated("asked")

    monkeypatch.setattr(cli, "main", wrapped)
    monkeypatch.setattr(sys, "argv", ["side4video", "run", "a.yaml"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 143
    assert capsys.readouterr().err == "interrupted: asked · continue with: side4video run a.yaml --go-on\n"
