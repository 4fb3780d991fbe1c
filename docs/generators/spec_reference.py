"""The reference of the documents: every field with its type, its default and what it is for, from the specs themselves.

A section that one field uses stands below that field. A section that several fields use stands once, at the end of the
page. Each field is a list item with an anchor of its own, `#field-method.side4video.layers`, so that the page reads the
same on a forge and on the site.
"""

import inspect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic.fields import FieldInfo

from generators.annotations import as_yaml, default_of, either, in_words, kind_of, specs_in
from side4video.core.field_descriptions import field_descriptions
from side4video.core.spec import Spec
from side4video.spec.experiment import Experiment
from side4video.spec.sweep import SweepSpec

Union = tuple[type[Spec], ...]

SECTION_PAGES = (
    *("task", "backbone", "method", "data", "features", "optimization", "evaluation", "cluster", "tracking"),
)
"""Fields of an experiment that have a page of their own."""
MANY_KINDS = 4
"""More of them are told by themselves, not inside their field."""


@dataclass
class _Page:
    """What is being written, and where sections of several fields are told."""

    shared: Mapping[Union, str]
    """Sections that stand at the end of the page, by name."""
    lines: list[str] = field(default_factory=list)
    depth: int = 0

    def add(self, *lines: str) -> None:
        """Write lines, as deep as the list items that are open."""
        self.lines += [f"{'  ' * self.depth}{line}" if line else "" for line in lines]

    def open(self, place: str, name: str, default: str, kind: str = "") -> None:
        """Begin a field; what is written until `close` stands inside its list item."""
        given = "**required**" if default == "required" else f"default `{default}`"
        told = [f'<a id="field-{place}"></a>**`{name}`**', given, *([kind] if kind else [])]
        self.add(f"- {' · '.join(told)}", "")
        self.depth += 1

    def close(self) -> None:
        """End the field that was begun last."""
        self.depth -= 1

    def link(self, specs: Union) -> str:
        """A section's or a union's name, with its address where it stands elsewhere on this page."""
        if specs in self.shared:
            return f"[a `{self.shared[specs].rpartition('.')[2]}` section](#{_anchor(self.shared[specs])})"
        kinds = [f"`{kind_of(spec)}`" for spec in specs if kind_of(spec)]
        return f"a section of kind {either(kinds)}" if kinds else "a section"


def experiment_overview() -> str:
    """The fields at the top of an experiment; sections link to their pages."""
    page = _Page({})
    for name, info in Experiment.model_fields.items():
        if name in SECTION_PAGES:
            page.open(name, name, _short_default(info))
            page.add(
                *_sentence(field_descriptions(Experiment).get(name)), "", f"All fields of [`{name}`]({name}.md).", ""
            )
            page.close()
        else:
            _write_field(page, name, Experiment, name)
    return "\n".join(page.lines)


def section_page(name: str) -> str:
    """Everything below one field of an experiment."""
    info = Experiment.model_fields[name]
    return _whole(name, specs_in(info.annotation), _required(info))


def sweep_page() -> str:
    """Everything in a sweep's document."""
    return _whole("sweep", (SweepSpec,), "")


def _required(info: FieldInfo) -> str:
    given = default_of(info)
    return "This section is required." if given == "required" else f"The section is optional. Default: `{given}`."


def _short_default(info: FieldInfo) -> str:
    given = default_of(info)
    return given if len(given) <= 60 else "{}"


def _whole(name: str, specs: Union, first: str) -> str:
    page = _Page(_shared(name, specs))
    page.add(first, "")
    for spec in specs:
        _write_spec(page, name, spec, level=2)
    if page.shared:
        page.add("## Sections used above", "", "Sections that have many kinds, or that several fields use.", "")
    for union, place in page.shared.items():
        page.add(f'<a id="{_anchor(place)}"></a>', "", f"### `{place.rpartition('.')[2]}`", "")
        for spec in union:
            _write_spec(page, place, spec, level=4)
    return "\n".join(page.lines)


def _shared(name: str, specs: Union) -> dict[Union, str]:
    """Sections that more than one field has or that are of many kinds, with a name: that of the first such field."""
    counted: Counter[Union] = Counter()
    names: dict[Union, str] = {}
    for spec in _below(specs):
        for key, info in spec.model_fields.items():
            if union := specs_in(info.annotation):
                counted[union] += 1
                names.setdefault(union, key)
    return {union: f"{name}.{names[union]}" for union, times in counted.items() if times > 1 or len(union) > MANY_KINDS}


def _below(specs: Iterable[type[Spec]]) -> Iterator[type[Spec]]:
    seen: dict[type[Spec], None] = {}
    waiting = list(specs)
    while waiting:
        spec = waiting.pop(0)
        if spec in seen:
            continue
        seen[spec] = None
        waiting += [inner for info in spec.model_fields.values() for inner in specs_in(info.annotation)]
    return iter(seen)


def _write_spec(page: _Page, place: str, spec: type[Spec], *, level: int) -> None:
    """A section: its docstring, its fields, its presets."""
    kind = kind_of(spec)
    inner = f"{place}.{kind}" if kind else place
    if kind:
        page.add(f'<a id="spec-{_plain(inner)}"></a>', "", f"{'#' * level} `kind: {kind}`", "")
    if kind or level > 2:
        page.add(*_docstring(spec), "")
    for name in spec.model_fields:
        if name != "kind":
            _write_field(page, f"{inner}.{name}", spec, name)
    _write_presets(page, spec)


def _write_field(page: _Page, place: str, spec: type[Spec], name: str) -> None:
    info = spec.model_fields[name]
    page.open(place, name, default_of(info), in_words(info.annotation, info.metadata, page.link))
    page.add(*_sentence(field_descriptions(spec).get(name)), "")
    union = specs_in(info.annotation)
    if union and union not in page.shared:
        for spec in union:
            _write_inside(page, place, spec)
    page.close()


def _write_inside(page: _Page, place: str, spec: type[Spec]) -> None:
    """A section inside a field: no headings, which cannot stand there."""
    kind = kind_of(spec)
    inner = f"{place}.{kind}" if kind else place
    first = _docstring(spec)
    page.add(f"**`kind: {kind}`** — {first[0]}" if kind else first[0], *first[1:], "")
    for name in spec.model_fields:
        if name != "kind":
            _write_field(page, f"{inner}.{name}", spec, name)
    _write_presets(page, spec)


def _write_presets(page: _Page, spec: type[Spec]) -> None:
    for name, presets in spec.PRESETS.items():
        page.add(f"Values that each `{name}` sets. A value in the document overrides them.", "")
        page.add(f"| `{name}` | sets |", "|---|---|")
        page.add(*(f"| `{preset}` | {_settings(values)} |" for preset, values in presets.items()), "")


def _settings(values: Mapping[str, Any]) -> str:
    return "<br>".join(f"`{key}: {as_yaml(value)}`" for key, value in values.items()) or "the defaults"


def _docstring(spec: type[Spec]) -> list[str]:
    return inspect.cleandoc(spec.__doc__ or "").splitlines()


def _sentence(text: str | None) -> list[str]:
    """A field's docstring; its own lists and lines stay."""
    return inspect.cleandoc(text or "").splitlines()


def _anchor(place: str) -> str:
    return f"shared-{_plain(place)}"


def _plain(place: str) -> str:
    return place.replace(".", "-")
