"""Fills the generated parts of README.md and of the pages in docs/. The filled pages are committed.

    .venv/bin/python docs/generators/pages.py            write the pages that are not current
    .venv/bin/python docs/generators/pages.py --check    name them, and exit with 1 if there are any

A generated part stands between two comments, and the first one names its generator:

    <!-- generated: section method -->
    ...
    <!-- end -->
"""

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "platform")]

from generators import figures  # noqa: E402 - found by the line above
from generators.cli_reference import cli_reference  # noqa: E402
from generators.presets import presets_page  # noqa: E402
from generators.reproduction import reproduction_page  # noqa: E402
from generators.spec_reference import experiment_overview, section_page, sweep_page  # noqa: E402
from generators.unions import kinds_table  # noqa: E402

BEGIN = re.compile(r"^<!-- generated: (?P<name>[\w-]+)(?: (?P<argument>[\w.-]+))? -->$")
END = "<!-- end -->"

GENERATORS: Mapping[str, Callable[..., str]] = {
    "experiment": experiment_overview,
    "section": section_page,
    "sweep": sweep_page,
    "kinds": kinds_table,
    "commands": cli_reference,
    "presets": presets_page,
    "reproduction": reproduction_page,
    "figures": figures.named,
}


def fill(text: str) -> str:
    """A page with its generated parts made again.

    Raises:
        KeyError: A comment names no generator.
        ValueError: A generated part has no end.
    """
    lines: list[str] = []
    waiting = iter(text.split("\n"))
    for line in waiting:
        lines.append(line)
        if not (match := BEGIN.match(line)):
            continue
        if not any(skipped == END for skipped in waiting):
            raise ValueError(f"{line} has no {END}")
        arguments = [match["argument"]] if match["argument"] else []
        lines += ["", *GENERATORS[match["name"]](*arguments).strip("\n").split("\n"), "", END]
    return "\n".join(lines)


def pages(root: Path = ROOT) -> list[Path]:
    """README.md and every page in docs/."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def outdated(root: Path = ROOT) -> list[Path]:
    """Pages whose generated parts are not what the package and the stored results give today."""
    return [page for page in pages(root) if fill(text := page.read_text(encoding="utf-8")) != text]


def main() -> int:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="Write nothing; exit with 1 if a page is not current.")
    is_check = parser.parse_args().check
    found = outdated()
    for page in found:
        if not is_check:
            page.write_text(fill(page.read_text(encoding="utf-8")), encoding="utf-8")
        sys.stdout.write(f"{'not current' if is_check else 'written'}: {page.relative_to(ROOT)}\n")
    return int(is_check and bool(found))


if __name__ == "__main__":
    sys.exit(main())
