"""`import side4video` is quick, and shows its functions to people, editors and type checkers."""

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import side4video

PACKAGE = Path(side4video.__file__).parent
ROOT = PACKAGE.parents[1]
HEAVY = ("torch", "ray", "mlflow", "pandas", "numpy", "pydantic", "rich")
FUNCTIONS = ("load", "load_experiment", "plan", "presets", "run", "runs", "sweep")


def fresh(code: str) -> str:
    """What a new interpreter prints."""
    lines = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def loaded_by(code: str) -> list[str]:
    return fresh(f"{code}\nprint(*[name for name in {HEAVY} if name in sys.modules])").split()


def test_the_import_loads_nothing_heavy():
    assert loaded_by("import side4video; dir(side4video); side4video.__all__; side4video.__version__") == []


def test_a_heavy_import_is_noticed():
    assert loaded_by("import side4video; side4video.InputError; side4video.Experiment") == ["pydantic"]


def test_a_document_is_read_without_torch():
    assert loaded_by("import side4video; side4video.load_experiment('quickstart')") == ["pydantic"]


def stub_names() -> list[str]:
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text())
    imported = [alias.asname for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    listed = next(ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign))
    assert sorted(imported) == sorted(listed)
    return listed


def test_every_name_is_there_and_shown():
    assert side4video.__all__ == sorted(stub_names())
    assert set(side4video.__all__) <= set(dir(side4video))
    for name in side4video.__all__:
        assert getattr(side4video, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = side4video.nothing


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_say_what_they_take_and_raise(name):
    function = getattr(side4video, name)
    text = inspect.getdoc(function) or ""
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(each.annotation is not inspect.Parameter.empty for each in signature.parameters.values())
    assert name == "presets" or "Raises:" in text
    assert [each for each in signature.parameters if each not in text] == []


IMPORTS = "import side4video, side4video.run, side4video.runs.launch"
CHECK = "print(callable(side4video.run), callable(side4video.runs), callable(side4video.load_experiment))"


def test_modules_of_the_same_name_do_not_replace_functions():
    assert fresh(f"{IMPORTS}\n{CHECK}") == "True True True"
    assert fresh(
        "from side4video.run import RunContext; from side4video.runs import launch; print(launch.__name__)"
    ) == ("side4video.runs.launch")


def test_without_the_package_s_own_class_they_would():
    plain = "import types, side4video; sys.modules['side4video'].__class__ = types.ModuleType"
    assert fresh(f"{plain}\n{IMPORTS}\n{CHECK}") == "False False True"


SNIPPET = """
from pathlib import Path
import numpy as np
import side4video

experiment = side4video.load_experiment("quickstart", ["seed=1"])
reveal_type(experiment.data.frames)
reveal_type(side4video.plan(experiment, classes=8).peak_memory_gib)
reveal_type(side4video.run("quickstart", "seed=2", {"method.dim": 64}, local=False).metrics)
reveal_type(side4video.sweep("quickstart-sweep").arms)
reveal_type(side4video.runs(name="quickstart"))
model = side4video.load("quickstart", "cuda")
reveal_type(model.predict("a.mp4"))
reveal_type(model.predict(Path("a.mp4"), features=True).features)
reveal_type(model.predict(np.zeros((8, 32, 32, 3), np.uint8)).scores)
reveal_type(model.predict(["a.mp4", np.zeros((8, 32, 32, 3), np.uint8)]))
for window in model.stream("a.mp4", every=4):
    reveal_type(window.end_seconds)
try:
    side4video.run("quickstart", loca=True)
except side4video.InputError as error:
    reveal_type(error.fix)
"""
REVEALED = [
    "int",
    "float",
    "dict[str, float]",
    "DataFrame",
    "DataFrame",
    "Prediction",
    "ndarray[tuple[Any, ...], dtype[floating[_32Bit]]] | None",
    "ndarray[tuple[Any, ...], dtype[float64]] | None",
    "list[Prediction]",
    "float",
    "str",
]


@pytest.mark.slow
def test_a_type_checker_knows_all_of_it(tmp_path):
    (tmp_path / "snippet.py").write_text(SNIPPET)
    settings = {"include": ["snippet.py"], "extraPaths": [str(PACKAGE.parent)], "pythonVersion": "3.11"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    call = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(tmp_path)]
    done = subprocess.run(call, capture_output=True, text=True, timeout=280, cwd=tmp_path)
    found = json.loads(done.stdout)["generalDiagnostics"]
    shown = [each["message"].split(' is "')[1].rstrip('"') for each in found if each["severity"] == "information"]
    errors = [each["message"] for each in found if each["severity"] == "error"]
    assert shown == REVEALED
    assert errors == ['No parameter named "loca"']
