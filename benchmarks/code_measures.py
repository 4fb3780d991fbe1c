"""Measures of the code base: sizes, public names, internal imports, comments, mocks in tests.

    python benchmarks/code_measures.py [--package platform/side4video] [--tests tests] [--json]

Public names are the classes and functions of modules whose name does not begin with `_`.
Internal imports are names that a module imports from this package. Docstrings are not comments.
"""

import argparse
import ast
import io
import json
import re
import statistics
import tokenize
from collections.abc import Iterator
from pathlib import Path


def public_names(tree: ast.Module) -> Iterator[str]:
    """Names of a module that others may use."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name


def internal_imports(tree: ast.Module, package: str) -> int:
    """Statements that import from the package."""
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return sum(bool(node.module) and str(node.module).split(".")[0] == package for node in imports)


def comment_lines(text: str) -> int:
    """Lines that hold a comment."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return len({token.start[0] for token in tokens if token.type == tokenize.COMMENT})


def spread(values: list[int]) -> str:
    """Median, 90th percentile, maximum."""
    ordered = sorted(values)
    return f"{statistics.median(ordered):g} / {ordered[int(0.9 * (len(ordered) - 1))]} / {ordered[-1]}"


def measure(package: Path, tests: Path) -> dict[str, str | int | float]:
    """All measures by name."""
    files = [path.read_text(encoding="utf-8") for path in sorted(package.rglob("*.py"))]
    trees = [ast.parse(text) for text in files]
    lines = [len(text.splitlines()) for text in files]
    thousands = sum(lines) / 1000
    functions = [
        (node.end_lineno or node.lineno) - node.lineno + 1
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    tested = {path.name.removeprefix("test_") for path in tests.rglob("test_*.py")}
    modules = [path for path in package.rglob("*.py") if path.name != "__init__.py"]
    mirrored = sum(
        (tests / "unit" / path.relative_to(package)).with_name(f"test_{path.name}").is_file() for path in modules
    )
    return {
        "files": len(files),
        "lines": sum(lines),
        "file lines: median / p90 / max": spread(lines),
        "function lines: median / p90 / max": spread(functions),
        "public names per 1k lines": round(sum(len(list(public_names(tree))) for tree in trees) / thousands, 1),
        "internal imports per 1k lines": round(
            sum(internal_imports(tree, package.name) for tree in trees) / thousands, 1
        ),
        "comments, % of lines": round(100 * sum(map(comment_lines, files)) / sum(lines), 1),
        "setattr in tests": sum(
            len(re.findall(r"\bsetattr\(", path.read_text(encoding="utf-8"))) for path in tests.rglob("*.py")
        ),
        "modules with a test at their place": f"{mirrored} of {len(modules)}",
        "modules with a test of their name": sum(path.name in tested for path in modules),
    }


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, default=Path("platform/side4video"))
    parser.add_argument("--tests", type=Path, default=Path("tests"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    measures = measure(options.package, options.tests)
    if options.json:
        print(json.dumps(measures, indent=2))
        return
    for name, value in measures.items():
        print(f"{name:40s} {value}")


if __name__ == "__main__":
    main()
