"""The house rules that no linter holds. Each has a twin that plants a violation and must find it."""

import ast
import itertools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "platform" / "side4video"

FILE_LINES = 400
FUNCTION_LINES = 60
VAGUE_NAMES = {"common", "helper", "helpers", "misc", "util", "utils"}
HEAVY = ["torch", "torchvision", "timm", "open_clip", "decord", "av", "PIL", "mlflow", "ray", "numpy"]


def fresh(code: str, *, cwd: Path = ROOT, path: Path | None = None) -> str:
    """What a new interpreter prints, started in `cwd`, with `path` to import from."""
    lines = f"import sys; sys.path.insert(0, {str(path)!r})\n{code}" if path else code
    done = subprocess.run([sys.executable, "-c", lines], cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# ---- the source root must not shadow the standard library's `platform`


def init_files_of_the_source_root(source_root: Path) -> list[Path]:
    return list(source_root.glob("__init__.py*"))


def imported_platform(root: Path) -> str:
    return fresh("import platform; print(getattr(platform, 'system', lambda: 'shadowed')())", cwd=root)


def test_the_source_root_is_not_a_package():
    assert init_files_of_the_source_root(ROOT / "platform") == []
    assert imported_platform(ROOT) not in {"", "shadowed"}


def test_a_source_root_that_is_a_package_is_noticed(tmp_path):
    (tmp_path / "platform").mkdir()
    (tmp_path / "platform" / "__init__.py").touch()
    assert init_files_of_the_source_root(tmp_path / "platform")
    assert imported_platform(tmp_path) == "shadowed"


# ---- size


def oversized(folder: Path) -> list[str]:
    """`file` and `file:function` over the budget."""
    found = []
    for file in sorted(folder.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        name = file.relative_to(folder).as_posix()
        if len(text.splitlines()) > FILE_LINES:
            found.append(name)
        for node in ast.walk(ast.parse(text)):
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if is_function and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES:
                found.append(f"{name}:{node.name}")
    return found


def test_files_and_functions_stay_small():
    assert oversized(PACKAGE) == []


def test_large_files_and_functions_are_noticed(tmp_path):
    (tmp_path / "long.py").write_text("x = 1\n" * (FILE_LINES + 1))
    (tmp_path / "fits.py").write_text("x = 1\n" * FILE_LINES)
    (tmp_path / "deep.py").write_text(
        "class A:\n    def big(self):\n" + "        x = 1\n" * FUNCTION_LINES + "\n\ndef small():\n    return 1\n"
    )
    assert oversized(tmp_path) == ["deep.py:big", "long.py"]


# ---- names


def badly_named(folder: Path) -> list[str]:
    """Modules and folders with a name that says nothing, or that hides a module of the standard library."""
    names = [path for path in sorted(folder.rglob("*")) if path.suffix == ".py" or path.is_dir()]
    vague = [path for path in names if path.stem in VAGUE_NAMES]
    # Only absolute imports are used, so a stdlib name below a package shadows nothing; it only misleads.
    taken = [path for path in names if path.stem in sys.stdlib_module_names and not path.stem.startswith("_")]
    return [path.relative_to(folder).as_posix() for path in [*vague, *taken]]


def test_names_say_what_a_module_is_about():
    assert badly_named(PACKAGE) == []


def test_vague_and_taken_names_are_noticed(tmp_path):
    (tmp_path / "utils").mkdir()
    (tmp_path / "core").mkdir()
    for name in ("core/common.py", "core/random.py", "core/seeds.py"):
        (tmp_path / name).touch()
    assert badly_named(tmp_path) == ["core/common.py", "utils", "core/random.py"]


# ---- documents are read without the heavy libraries


def modules_with_documents(source_root: Path) -> list[str]:
    """Modules that define a class on `Spec`, or on one whose name ends so."""
    found = []
    for file in sorted(source_root.rglob("*.py")):
        classes = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ClassDef)]
        bases = {ast.unparse(base).split(".")[-1].split("[")[0] for node in classes for base in node.bases}
        if any(base.endswith("Spec") for base in bases):
            parts = file.relative_to(source_root).with_suffix("").parts
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def heavy_after_import(modules: list[str], heavy: list[str], *, path: Path | None = None) -> list[str]:
    code = f"import sys, {', '.join(modules)}\nprint(*[name for name in {heavy} if name in sys.modules])"
    return fresh(code, path=path).split()


def test_reading_a_document_loads_nothing_heavy():
    assert heavy_after_import(["side4video.spec.load", "side4video.spec.arm"], HEAVY) == []


def test_no_module_with_a_document_loads_anything_heavy():
    modules = modules_with_documents(ROOT / "platform")
    assert "side4video.spec.tracking" in modules
    assert heavy_after_import(modules, HEAVY) == []


def test_a_document_beside_a_heavy_import_is_noticed(tmp_path):
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "__init__.py").touch()
    (tmp_path / "box" / "leaf.py").write_text("import sqlite3\n\nclass Spec: ...\n\nclass LeafSpec(Spec): ...\n")
    (tmp_path / "box" / "plain.py").write_text("import wave\n\nclass Plain: ...\n")
    modules = modules_with_documents(tmp_path)
    assert modules == ["box.leaf"]
    assert heavy_after_import(modules, ["sqlite3", "wave"], path=tmp_path) == ["sqlite3"]


# ---- what a newcomer's machine reads names no other machine

FOREIGN = re.compile(
    r"--(?:extra-)?index(?:-url)?\b|--find-links|\bindex-url\b|\w+://[^\s\"']*/simple\b|\bfile://"
    r"|(?<![\w.~$])/(?:home|root|work|opt|Users|mnt|tmp)/\w|\b[A-Z]:\\"
)
PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.]*")


def foreign_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if FOREIGN.search(line)]


def pins(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def unpinned(project: dict, constraints: str) -> list[str]:
    """Requirements without a pin, or with one that they do not allow."""
    pinned = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in pins(constraints)}
    extras = project["project"]["optional-dependencies"].values()
    asked = itertools.chain(project["project"]["dependencies"], *extras, project["build-system"]["requires"])
    own = project["project"].get("name")
    requirements = [each for each in map(Requirement, asked) if each.name != own]  # an extra may name others
    return [
        requirement.name
        for requirement in requirements
        if not requirement.specifier.contains(pinned.get(canonicalize_name(requirement.name), "0"), prereleases=True)
        or canonicalize_name(requirement.name) not in pinned
    ]


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt", "Makefile", ".ci/run", ".gitignore"])
def test_no_path_or_index_of_one_machine(name):
    assert foreign_lines((ROOT / name).read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "--index-url x",
        "--extra-index-url https://pypi.example.org/simple",
        "torch @ file:///opt/wheels/torch.whl",
        "path = /home/someone/data",
        "url = https://packages.example.org/simple",
        r"C:\data",
    ],
)
def test_a_path_or_index_of_one_machine_is_noticed(line):
    assert foreign_lines(f"a = 1\n{line}\n") == [line]


def test_constraints_are_exact_and_cover_what_is_asked_for():
    text = (ROOT / "constraints.txt").read_text()
    assert [line for line in pins(text) if not PIN.fullmatch(line)] == []
    assert unpinned(tomllib.loads((ROOT / "pyproject.toml").read_text()), text) == []


def test_missing_and_wrong_pins_are_noticed():
    project = {
        "project": {"dependencies": ["a>=2", "b_x>=1", "c"], "optional-dependencies": {"dev": ["d>=1"]}},
        "build-system": {"requires": ["e"]},
    }
    assert unpinned(project, "# note\na==1.0\nb-x==1.0\nc==0\nE==3\n") == ["a", "d"]
    assert not PIN.fullmatch("a>=1")
    assert not PIN.fullmatch("a==1 @ file:///x")
