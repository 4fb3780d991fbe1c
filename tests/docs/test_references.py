"""The references hold every field and every option, with what the code says of each."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import click
import pytest
from pydantic import BaseModel, Field, PositiveInt

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "docs"))

from generators import pages  # noqa: E402 - docs/ holds no package of ours
from generators.annotations import default_of, in_words, specs_in  # noqa: E402
from generators.cli_reference import cli_reference, commands  # noqa: E402
from generators.spec_reference import SECTION_PAGES, experiment_overview, section_page, sweep_page  # noqa: E402

from side4video.cli.schema import experiment_schema, sweep_schema  # noqa: E402
from side4video.core.field_descriptions import field_descriptions  # noqa: E402
from side4video.core.spec import Spec  # noqa: E402
from side4video.models.methods.side4video import Side4VideoSpec  # noqa: E402
from side4video.spec.experiment import Experiment  # noqa: E402
from side4video.tasks.multi_head.metrics import OF_HEADS  # noqa: E402


def spec_text() -> str:
    return "\n".join([experiment_overview(), *(section_page(name) for name in SECTION_PAGES), sweep_page()])


def missing_fields(text: str, schemas: list[dict[str, Any]]) -> list[str]:
    """Fields of a schema whose description stands nowhere in a text, or whose name heads no field of it."""
    missing = []
    for schema in schemas:
        for owner, definition in {"": schema, **schema["$defs"]}.items():
            for name, field in definition.get("properties", {}).items():
                if name == "kind":
                    continue
                is_told = " ".join(field.get("description", "?").split()) in " ".join(text.split())
                if not is_told or f"**`{name}`**" not in text:
                    missing.append(f"{owner}.{name}")
    return missing


def test_every_field_is_told():
    assert missing_fields(spec_text(), [experiment_schema(), sweep_schema()]) == []


def test_a_field_that_is_left_out_is_noticed():
    text = spec_text().replace("**`stem_norm`**", "**`x`**").replace("Number of frames of each clip (paper", "")
    found = missing_fields(text, [experiment_schema()])
    assert found == ["DataSpec.frames", "Side4VideoSpec.stem_norm"]


def test_no_field_has_two_addresses_alike():
    places = re.findall(r'<a id="field-([^"]+)"></a>', spec_text())
    assert len(places) == len(set(places)) > 300


def test_a_field_says_its_default_its_values_and_its_docstring():
    text = section_page("method")
    start = text.index('<a id="field-method.side4video.layers"></a>')
    told = text[start : text.index("<a id=", start + 1)]
    assert "**`layers`** · default `12` · a whole number, above 0" in told
    assert field_descriptions(Side4VideoSpec)["layers"] in told
    assert "| `vitb16-light` | `layers: 6`<br>`dim: 192` |" in text
    assert 'field-backbone.open-clip.model"></a>**`model`** · **required**' in section_page("backbone")


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Literal["a", "b", "c"], "`a`, `b` or `c`"),
        (Literal[1, 3], "`1` or `3`"),
        (bool, "`true` or `false`"),
        (PositiveInt, "a whole number, above 0"),
        (Annotated[float, Field(ge=0, le=1)], "a number, at least 0, at most 1"),
        (Annotated[float, Field(gt=0, lt=2)], "a number, above 0, below 2"),
        (Annotated[str, Field(min_length=1, max_length=80)], "text, not empty, at most 80 characters"),
        (Annotated[str, Field(pattern="^a$")], "text, matching `^a$`"),
        (PositiveInt | Literal["any"], "a whole number, above 0 or `any`"),
        (str | None, "text or nothing"),
        (tuple[int, ...], "a list, each item a whole number"),
        (tuple[int, int, int], "a list of 3 items, each a whole number"),
        (list[str], "a list, each item text"),
        (Mapping[str, PositiveInt], "a mapping from names to a whole number, above 0"),
        (Side4VideoSpec, "S"),
        (Any, "any value of the named field"),
    ],
)
def test_types_in_words(annotation, words):
    assert in_words(annotation, (), lambda specs: "S") == words


def test_a_type_that_has_no_words_is_noticed():
    with pytest.raises(TypeError, match="no words"):
        in_words(bytes, (), lambda specs: "S")


def test_defaults_as_a_document_writes_them():
    class Toy(BaseModel):
        a: int
        b: str = ""
        c: tuple[float, ...] = (0.5, 1e-5)
        d: bool = True
        e: None = None
        f: Side4VideoSpec = Side4VideoSpec(layers=6)

    values = [default_of(field) for field in Toy.model_fields.values()]
    assert values == ["required", '""', "[0.5, 1e-05]", "true", "null", "{kind: side4video, layers: 6}"]


PATH = re.compile(rf"(?<!}})`(?!cluster\.yaml)((?:{'|'.join(Experiment.model_fields)})(?:\.[a-z_]+)+)(?![\w.(])")
"""A field that a text names; `cluster.yaml` is a file, and what a role names is looked up by Sphinx."""
METRIC = re.compile(r"`((?:time|memory|plan|best|eval|arm)/[a-z0-9_]+)`")
WRITTEN_PAGES = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]


def has_field(path: str) -> bool:
    """Whether some document has this dotted path."""
    specs: tuple[type[Spec], ...] = (Experiment,)
    for name in path.split("."):
        if not (found := [spec.model_fields[name] for spec in specs if name in spec.model_fields]):
            return False
        specs = tuple(inner for field in found for inner in specs_in(field.annotation))
    return True


@pytest.mark.parametrize("page", WRITTEN_PAGES, ids=lambda page: page.name)
def test_fields_that_the_text_names_are_there(page):
    text = page.read_text(encoding="utf-8")
    assert [path for path in PATH.findall(text) if not has_field(path)] == []


def test_a_field_in_the_text_that_is_not_there_is_noticed():
    text = "`cluster.workers`, `data.sise: 3`, `cluster.yaml`, `data.labelled.LabelledSpec`, {field}`data.frames`"
    assert PATH.findall(text) == ["cluster.workers", "data.sise"]
    assert has_field("data.dataset.missing_videos")
    assert has_field("data.augmentation.resize")
    assert not has_field("data.sise")
    assert not has_field("method.kind.layers")


def is_logged(metric: str) -> bool:
    """Whether the package's code holds the metric's name, or makes it of a phase of the clock."""
    area, _, name = metric.partition("/")
    code = "\n".join(file.read_text() for file in (ROOT / "platform" / "side4video").rglob("*.py"))
    if area == "time":
        return f'"{metric}"' in code or f'mark("{name.removesuffix("_s")}"' in code
    is_of_head = any(name.endswith(f"_{end}") for end in OF_HEADS)  # the data name the heads
    return metric in code or f'"{name}"' in code or is_of_head


def test_metrics_that_the_text_names_are_logged():
    texts = [page.read_text(encoding="utf-8") for page in WRITTEN_PAGES]
    names = {name for text in texts for name in METRIC.findall(text)}
    assert {"best/top1", "time/step_s"} <= names
    added = {name for text in texts for name in METRIC.findall(text) if adds_metric(text, name)}
    assert [name for name in sorted(names - added) if not is_logged(name)] == []


def adds_metric(text: str, metric: str) -> bool:
    """Whether the code of a page adds the metric, to the package or as a plug-in."""
    return f'MetricSpec("{metric.partition("/")[2]}"' in text


def test_a_metric_that_nobody_logs_is_noticed():
    assert not is_logged("time/lunch_s")
    assert not is_logged("memory/forgotten_gib")


def missing_options(text: str) -> list[str]:
    missing = []
    for names, command in commands():
        whole = " ".join(names)
        part = text.partition(f"# `{whole}`\n")[2].partition('\n<a id="cli-')[0]
        wanted = [name for each in command.params if isinstance(each, click.Option) for name in each.opts]
        wanted = [name for name in wanted if name not in ("--version", "--help", "-h")]
        missing += [f"{whole} {name}" for name in wanted if f"{name}" not in part]
        if not part:
            missing.append(whole)
    return missing


def test_every_command_and_option_is_told():
    text = cli_reference()
    assert missing_options(text) == []
    assert "side4video run [OPTIONS] SPEC" in text
    assert "#### `side4video jobs stop`" in text


def test_an_option_that_is_left_out_is_noticed():
    text = cli_reference()
    assert missing_options(text.replace("--sustained-teraflops", "")) == ["side4video plan --sustained-teraflops"]
    assert missing_options(text.replace("`side4video validate`", "")) != []


def test_a_page_that_asks_for_what_nobody_makes_is_noticed():
    filled = pages.fill("a\n\n<!-- generated: kinds tasks -->\nold\n<!-- end -->\nb")
    assert filled.count("recognition") >= 1
    assert "old" not in filled
    assert filled.startswith("a\n")
    assert filled.endswith("\nb")
    assert pages.fill(filled) == filled
    for name in ("nonsense", "section nonsense", "figures nonsense"):
        with pytest.raises(KeyError):
            pages.fill(f"<!-- generated: {name} -->\n<!-- end -->")
    with pytest.raises(ValueError, match="has no"):
        pages.fill("<!-- generated: kinds tasks -->\n")


def test_the_generated_pages_are_current():
    assert [page.relative_to(ROOT).as_posix() for page in pages.outdated()] == [], "write them: make reference"


def test_a_page_that_is_not_current_is_noticed(tmp_path):
    (tmp_path / "README.md").write_text("no generated part\n")
    (tmp_path / "docs" / "reference").mkdir(parents=True)
    page = tmp_path / "docs" / "reference" / "task.md"
    page.write_text((ROOT / "docs" / "reference" / "task.md").read_text(encoding="utf-8"))
    assert pages.outdated(tmp_path) == []
    page.write_text(page.read_text().replace("default `", "default `another ", 1))
    assert pages.outdated(tmp_path) == [page]


def test_every_anchor_of_a_reference_is_there_once():
    for page in sorted((ROOT / "docs" / "reference").glob("*.md")):
        anchors = re.findall(r'<a id="([^"]+)">', page.read_text(encoding="utf-8"))
        assert len(anchors) == len(set(anchors)), page.name
