"""Every code block of the documentation and of the README does what its page says.

Documents are read by the real reader, Python runs, commands run and print what is shown. What cannot run here says
why, and is parsed. The twins plant a fault each.
"""

import re
from pathlib import Path

import pytest

from doc_blocks import BlockError, blocks_of, page_marks
from doc_commands import ROOT, commands_of, is_as_shown, name_ours, parse
from doc_sandbox import Sandbox, apply_diff

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
README = {
    "make demo ": ("bash", {"not-run": "it sets up an environment, and the gate runs it"}),
    "run           top-1": ("text", {"shown": "the end of make demo"}),
    "source .venv/bin/activate": ("bash", {"not-run": "it changes the reader's shell, and opens a browser"}),
    "name: my-clips": ("yaml", {"file": "my-clips.yaml"}),
    "export MY_CLIPS": ("bash", {"not-run": "the videos are the reader's"}),
    "name: layers-and-width": ("yaml", {"file": "layers-and-width.yaml"}),
    "side4video submit": ("bash", {"not-run": "it needs a cluster"}),
}
"""The README carries no comments for tests: what is told of its blocks, by how they begin."""

INLINE = re.compile(r"(?<!`)`((?:[A-Z0-9_]+=\S+ )*side4video (?!\.)[^`]+)`(?!`)")


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


def is_long(page: Path) -> bool:
    return "long" in page_marks(page.read_text(encoding="utf-8"))


def sandbox_of(page: Path, folder: Path) -> Sandbox:
    return Sandbox(folder, own_package="own-package" in page_marks(page.read_text(encoding="utf-8")))


def as_parameters(pages):
    marks = (pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900))
    return [pytest.param(page, id=name_of(page), marks=marks if is_long(page) else ()) for page in pages]


@pytest.mark.parametrize("page", as_parameters(PAGES))
def test_blocks_do_what_the_page_says(page, tmp_path):
    sandbox = sandbox_of(page, tmp_path)
    for block in blocks_of(page):
        sandbox.carry_out(block)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_is_known_and_every_command_can_be_parsed(page):
    """Of pages that take long as well: what they say is not forgotten by a quick run of the tests."""
    marks = page_marks(page.read_text(encoding="utf-8"))
    for block in blocks_of(page):
        if block.language in ("console", "bash"):
            for command in commands_of(block):
                if "own-package" not in marks or (command.program == "side4video" and "own-command" not in marks):
                    parse(command)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_reader_is_told_the_name_of_every_file(page):
    assert unnamed_files(page) == []


def unnamed_files(page):
    """Files that a page's blocks are, and whose names stand in its comments alone."""
    text = re.sub(r"<!--.*?-->", "", page.read_text(encoding="utf-8"))
    files = [block.marks["file"] for block in blocks_of(page) if block.has("file")]
    return [file for file in files if f"`{file}`" not in text]


def test_a_file_whose_name_is_not_told_is_noticed(tmp_path):
    block = "<!-- block: file a.yaml -->\n```yaml\na: 1\n```\n"
    assert unnamed_files(page_with(tmp_path, block)) == ["a.yaml"]
    assert unnamed_files(page_with(tmp_path, f"In `a.yaml`:\n\n{block}")) == []


def test_the_blocks_of_the_readme_do_what_it_says(tmp_path):
    sandbox = Sandbox(tmp_path)
    blocks = blocks_of(ROOT / "README.md", told=README)
    for block in blocks:
        sandbox.carry_out(block)
    assert len(blocks) == len(README)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_commands_that_the_text_names_are_there(page):
    for line in INLINE.findall(page.read_text(encoding="utf-8")):
        name_the_line(line, page.name)


def name_the_line(line, place):
    words = line.split()
    while "=" in words[0]:
        words.pop(0)
    name_ours(words[1:], f"{place}: `{line}`")


def test_a_command_in_the_text_that_is_not_there_is_noticed():
    assert INLINE.findall("Use `side4video run SPEC --local`, `side4video.load` or `SSV2=/a side4video plan A`.") == [
        "side4video run SPEC --local",
        "SSV2=/a side4video plan A",
    ]
    name_the_line("SSV2=/a side4video run SPEC --local --set a=b", "a page")
    for line in ("side4video train SPEC", "side4video run SPEC --quick", "side4video jobs follow"):
        with pytest.raises(BlockError, match="no "):
            name_the_line(line, "a page")


# ---- the twins


def page_with(tmp_path, text) -> Path:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    return page


def carry_out(tmp_path, text) -> None:
    folder = tmp_path / "sandbox"
    folder.mkdir()
    sandbox = Sandbox(folder)
    for block in blocks_of(page_with(tmp_path, text)):
        sandbox.carry_out(block)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("```\nside4video list tasks\n```\n", "the language"),
        ("```fortran\nx\n```\n", "the language"),
        ("```text\nwhat it prints\n```\n", "printed"),
        ("```console\n$ side4video list tasks\n", "not closed"),
        ("<!-- block: sometimes -->\n```bash\nmake demo\n```\n", "unknown mark"),
        ("<!-- block: not-run -->\n```bash\nmake demo\n```\n", "says nothing"),
        ("```bash\nmake demo\n```\n", "not marked"),
        ("<!-- block: not-run why -->\n```bash\nmake nonsense\n```\n", "no target"),
        ("<!-- block: not-run why -->\n```bash\nside4video run a.yaml --fast\n```\n", "--fast"),
        ("<!-- block: not-run why -->\n```bash\nside4video jobs follow a\n```\n", "follow"),
        ("<!-- block: not-run why -->\n```bash\nside4video run experiments/nowhere.yaml\n```\n", "there is no"),
        ("<!-- block: not-run why -->\n```bash\nfrobnicate\n```\n", "no program"),
        ("<!-- block: not-run why -->\n```bash\nside4video run 'a\n```\n", "quotation"),
        ("```console\nnothing\n```\n", "before the first"),
        ("```bash\n# nothing\n```\n", "no command"),
        ("```console\n$ side4video list tasks\nno such line\n```\n", "and shown is"),
        ("```console\n$ side4video validate nowhere.yaml\n```\n", "ended with 2"),
        ("<!-- block: exit 2 -->\n```console\n$ side4video list tasks\n```\n", "ended with 0"),
        ("```python\nassert 1 == 2\n```\n", "AssertionError"),
        ("```python\nx = 1\nprint(x)\n```\n<!-- block: printed -->\n```text\n2\n```\n", "printed was"),
        ("```yaml\nname: no-experiment\n```\n", "missing"),
        ("```yaml\nname: a\nbase: experiments/quickstart.yaml\ngrid: {method.layers: [9]}\n```\n", "layers"),
        ("<!-- block: fragment experiments/quickstart.yaml -->\n```yaml\nmethod: {widht: 3}\n```\n", "widht"),
        ("<!-- block: fragment experiments/quickstart-sweep.yaml -->\n```yaml\nlimit: {}\n```\n", "limit"),
        ("```diff\n+++ b/experiments/nowhere.yaml\n@@\n-a\n+b\n```\n", "no file"),
    ],
)
def test_a_wrong_block_is_noticed(tmp_path, text, fault):
    with pytest.raises(BlockError, match=fault):
        carry_out(tmp_path, text)


def test_right_blocks_of_every_kind_are_not_refused(tmp_path):
    carry_out(
        tmp_path,
        "<!-- block: file a.yaml; fragment experiments/quickstart.yaml -->\n```yaml\nseed: 3\n```\n\n"
        "<!-- block: not-run why -->\n```bash\nSSV2=/a side4video run SPEC --set a=b # a word\n```\n\n"
        "```console\n$ side4video list tasks\n...\nrecognition ...\n...\n```\n"
        "```python\nfrom pathlib import Path\nprint(Path('a.yaml').read_text())\n```\n"
        "<!-- block: printed -->\n```text\nseed: 3\n```\n",
    )


def test_a_comment_belongs_to_the_block_behind_it_alone(tmp_path):
    text = "<!-- block: not-run why -->\n\nSome words.\n\n```bash\nmake demo\n```\n"
    assert blocks_of(page_with(tmp_path, text))[0].marks == {}


def test_fences_inside_a_directive_are_blocks_too(tmp_path):
    text = ":::{note}\n```python\nx\n```\n:::\n```{toctree}\na\n```\n```yaml\na: 1\n```\n"
    assert [block.language for block in blocks_of(page_with(tmp_path, text))] == ["python", "yaml"]


@pytest.mark.parametrize(
    ("shown", "printed", "is_same"),
    [
        ("a\nb", "a\nb\n", True),
        ("a  \nb", "a\nb", True),
        ("a\n...\nc", "a\nb\nb\nc", True),
        ("a\n...\nc", "a\nc", True),
        ("a ... c", "a b c", True),
        ("a\nb", "a\nb\nc", False),
        ("a\n...\nc", "a\nb", False),
        ("b", "a\nb", False),
        ("a.c", "abc", False),
    ],
)
def test_what_counts_as_shown(shown, printed, is_same):
    assert is_as_shown(shown, printed) == is_same


def test_a_diff_whose_place_has_changed_is_noticed(tmp_path):
    (tmp_path / "a.py").write_text("one\ntwo\none\n")
    page = "```diff\n--- a/a.py\n+++ b/a.py\n@@\n {}\n+new\n```\n"
    (block,) = blocks_of(page_with(tmp_path, page.format("two")))
    apply_diff(tmp_path, block)
    assert (tmp_path / "a.py").read_text() == "one\ntwo\nnew\none\n"
    for place in ("three", "one"):
        (block,) = blocks_of(page_with(tmp_path, page.format(place)))
        with pytest.raises(BlockError, match="times"):
            apply_diff(tmp_path, block)


def test_a_page_whose_diff_is_not_applied_is_noticed(tmp_path):
    """The pages about adding things are carried out: without the union's new member, the new kind is unknown."""
    page = DOCS / "adding" / "method.md"
    sandbox = Sandbox(tmp_path, own_package=True, patched=False)
    (listing,) = [block for block in blocks_of(page) if "list methods" in block.text]
    with pytest.raises(BlockError, match="and shown is"):
        sandbox.carry_out(listing)


def test_marks_of_a_page_that_nobody_knows_are_noticed():
    with pytest.raises(BlockError, match="unknown marks"):
        page_marks("<!-- page: quick -->\n")
