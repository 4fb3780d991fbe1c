"""The notebooks: stored without outputs, and executed for their pages, with pictures."""

import json
import re
from pathlib import Path

import pytest

from doc_site import broken_links, build_site, fetched_from_elsewhere

DOCS = Path(__file__).resolve().parents[2] / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
CONF = 'extensions = ["myst_nb"]\nnb_execution_mode = "force"\nnb_execution_show_tb = True\n'


def cells_of(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def leftovers(path: Path) -> list[str]:
    """Cells with what an execution left: outputs, numbers, times."""
    code = [cell for cell in cells_of(path) if cell["cell_type"] == "code"]
    found = [cell["id"] for cell in code if cell["outputs"] or cell["execution_count"] is not None]
    return found + [cell["id"] for cell in cells_of(path) if cell["metadata"]]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_without_outputs(path):
    assert leftovers(path) == []
    metadata = json.loads(path.read_text())["metadata"]
    assert metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


def test_an_output_is_noticed(tmp_path):
    document = json.loads(NOTEBOOKS[0].read_text())
    code = next(cell for cell in document["cells"] if cell["cell_type"] == "code")
    code["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["1"]}]
    (tmp_path / "a.ipynb").write_text(json.dumps(document))
    assert leftovers(tmp_path / "a.ipynb") == [code["id"]]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_is_in_the_menu_and_uses_what_is_public(path):
    assert f"notebooks/{path.stem}\n" in (DOCS / "index.md").read_text()
    code = "\n".join("".join(cell["source"]) for cell in cells_of(path) if cell["cell_type"] == "code")
    assert "import side4video\n" in f"{code}\n"
    assert re.findall(r"(?:from|import) side4video\.", code) == []


def page_with(folder: Path, code: str) -> Path:
    """A folder of pages that is one notebook with one cell."""
    document = json.loads(NOTEBOOKS[0].read_text())
    title = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": ["# A"]}
    cell = {"cell_type": "code", "execution_count": None, "id": "b", "metadata": {}, "outputs": [], "source": [code]}
    (folder / "conf.py").write_text(CONF)
    (folder / "index.ipynb").write_text(json.dumps({**document, "cells": [title, cell]}))
    return folder


@pytest.mark.slow
def test_a_notebook_that_fails_is_noticed(tmp_path):
    complaint = build_site(page_with(tmp_path, "raise ValueError('planted')"), tmp_path / "built", notebooks="force")
    assert "planted" in complaint


EXPECTED = {
    "first-experiment": ("trained parameters", "first-experiment: done in", "finished · top-1", "by chance 25%"),
    "comparing-arms": ("comparing-arms: done in", "95% CI] (points)</p></th>", "<td>probe: linear probe</td>"),
    "using-a-model": ("4 classes", "there is no such file", "move the channels to the end", "predictions"),
}


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_pages_show_what_the_notebooks_make(tmp_path):
    assert [path.stem for path in NOTEBOOKS] == sorted(EXPECTED)
    site = tmp_path / "site"
    assert build_site(DOCS, site, notebooks="force", timeout=1100) == ""
    for name, texts in EXPECTED.items():
        page = (site / "notebooks" / f"{name}.html").read_text(encoding="utf-8")
        pictures = re.findall(r'<img[^>]*src="([^"]+\.png)"', page)
        assert pictures, f"{name} shows no picture"
        assert all((site / "notebooks" / picture).stat().st_size > 5000 for picture in pictures)
        assert [text for text in texts if text not in page] == [], name
        assert not re.search(r"Traceback|Warning:", page), name
    assert broken_links(site) == []
    assert fetched_from_elsewhere(site) == []
