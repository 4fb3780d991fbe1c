"""Twelve questions of a new reader. The table "Where to read on" of the README leads to the answer of each."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
QUESTIONS = {
    "What is it": ("docs/index.md", "side4video", ("action recognition", "text-video retrieval", "One YAML file")),
    "is it for me": ("docs/index.md", "Is it for me?", ("**Yes**", "**No**")),
    "my own videos": ("docs/your-own-videos.md", "Folders with train and test", ("train/", "test/", "kind: folder")),
    "GPU memory": ("docs/planning.md", "How much GPU memory does it need?", ("side4video plan", "peak GPU memory")),
    "resume a run": ("docs/failures.md", "Resume a run", ("--resume", "--go-on")),
    "several GPUs": ("docs/clusters.md", "Several GPUs on one machine", ("cluster.workers", "cluster.gpus_per_worker")),
    "compare runs": ("docs/sweeps.md", "Write a sweep", ("grid:", "seeds:")),
    "use a trained model": ("docs/using-a-model.md", "Predict", ("side4video predict",)),
    "add a method": ("docs/plugins.md", "A method", ("MethodSpec", "check-plugin")),
    "what never": ("docs/results.md", "What was not measured", ("GPUs", "Published accuracies")),
    "seeds": ("docs/concepts.md", "Seeds and exactness", ("`seed`", "`data.seed`")),
    "lie": ("docs/configuration.md", "Where files lie", ("~/.side4video", "SIDE4VIDEO_HOME", "checkpoints")),
}
"""By words of the question in the table: the page, the heading on it, and words of the answer below that heading."""

HEADING = re.compile(r"^#{1,4} (?P<title>.+)$", re.MULTILINE)
LINK = re.compile(r"\]\((?P<page>[^)#]+)(?:#(?P<anchor>[^)]+))?\)")


def rows(readme: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """Questions of the table, each with its links: page and anchor."""
    table = readme.partition("## Where to read on\n")[2].partition("\n## ")[0]
    cells = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return [(question, [(m["page"], m["anchor"] or "") for m in LINK.finditer(links)]) for question, links in cells]


def without_code(text: str) -> str:
    """A page whose code blocks hold no lines that look like headings."""
    return re.sub(r"^```.*?^```$", lambda block: block[0].replace("\n#", "\n "), text, flags=re.MULTILINE | re.DOTALL)


def sections(text: str) -> dict[str, str]:
    """What stands below each heading, down to the next one."""
    found = list(HEADING.finditer(without_code(text)))
    ends = [match.start() for match in found[1:]] + [len(text)]
    return {match["title"]: text[match.end() : end] for match, end in zip(found, ends, strict=True)}


def anchor_of(title: str) -> str:
    """A heading's anchor, as forges and the site make it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def unanswered(question: str, readme: str, page: str) -> str:
    """Why a reader does not find the answer; empty if the reader does. `page` is the text of the question's page."""
    path, heading, words = QUESTIONS[question]
    links = [link for asked, links in rows(readme) if question in asked for link in links]
    if path not in [linked for linked, _ in links]:
        return f"no row with {question!r} leads to {path}"
    answers = sections(page)
    if heading not in answers:
        return f"{path} has no heading {heading!r}"
    if missing := [word for word in words if word not in answers[heading]]:
        return f"{path}, {heading!r}: says nothing of {missing}"
    anchors = [anchor for linked, anchor in links if linked == path and anchor]
    if any(anchor not in map(anchor_of, answers) for anchor in anchors):
        return f"{path} has no heading for {anchors}"
    return ""


def texts_for(question: str) -> tuple[str, str]:
    page = ROOT / QUESTIONS[question][0]
    return (ROOT / "README.md").read_text(encoding="utf-8"), page.read_text(encoding="utf-8")


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_has_an_answer(question):
    assert unanswered(question, *texts_for(question)) == ""


def test_every_link_of_the_table_leads_to_a_page():
    links = [link for _, links in rows((ROOT / "README.md").read_text(encoding="utf-8")) for link in links]
    assert len(links) > len(QUESTIONS)
    for page, anchor in links:
        titles = sections((ROOT / page).read_text(encoding="utf-8"))
        assert not anchor or anchor in map(anchor_of, titles), f"{page}#{anchor}"


def test_the_readme_is_short():
    assert (ROOT / "README.md").stat().st_size <= 7000


# ---- the twins


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_answer_that_is_gone_is_noticed(question):
    readme, page = texts_for(question)
    path, heading, words = QUESTIONS[question]
    assert "leads to" in unanswered(question, readme.replace(f"({path}", "(docs/nowhere.md"), page)
    assert "no heading" in unanswered(question, readme, page.replace(f"# {heading}\n", "# Another\n"))
    assert "says nothing" in unanswered(question, readme, page.replace(words[0], "..."))


def test_an_anchor_that_is_gone_is_noticed():
    readme, page = texts_for("several GPUs")
    broken = readme.replace("clusters.md#several-gpus-on-one-machine", "clusters.md#several-gpus")
    assert "no heading for" in unanswered("several GPUs", broken, page)
