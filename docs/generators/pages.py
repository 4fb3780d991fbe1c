"""The Sphinx extension: a comment in a page is replaced by Markdown made from the package.

    <!-- generated: section method -->

Such a page is made again in every build, for what it shows is not in its file.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from generators.cli_reference import cli_reference
from generators.reproduction import reproduction_page
from generators.spec_reference import experiment_overview, section_page, sweep_page
from generators.unions import kinds_table

PLACE = re.compile(r"^<!-- generated: (?P<name>[\w-]+)(?: (?P<argument>[\w.-]+))? -->$", re.MULTILINE)

GENERATORS: Mapping[str, Callable[..., str]] = {
    "experiment": experiment_overview,
    "section": section_page,
    "sweep": sweep_page,
    "kinds": kinds_table,
    "commands": cli_reference,
    "reproduction": reproduction_page,
}


def fill(text: str) -> str:
    """A page's Markdown with its generated parts.

    Raises:
        KeyError: A comment names no generator.
    """

    def made(match: re.Match[str]) -> str:
        arguments = [match["argument"]] if match["argument"] else []
        return GENERATORS[match["name"]](*arguments)

    return PLACE.sub(made, text)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_object_type("field", "field", objname="field", indextemplate="pair: %s; field", parse_node=_show_field)
    app.connect("source-read", _fill_source)
    app.connect("env-get-outdated", _always_generated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _fill_source(app: Sphinx, docname: str, source: list[str]) -> None:  # noqa: ARG001 - Sphinx's signature
    source[0] = fill(source[0])


def _always_generated(app: Sphinx, env: BuildEnvironment, *changes: set[str]) -> list[str]:  # noqa: ARG001
    return [name for name in env.found_docs if PLACE.search(env.doc2path(name).read_text(encoding="utf-8"))]


def _show_field(env: BuildEnvironment, signature: str, node: addnodes.desc_signature) -> str:  # noqa: ARG001
    """A field's heading, from `name in the index | what is shown | value if it is not given`."""
    name, shown, default = (part.strip() for part in signature.split(" | ", maxsplit=2))
    node += addnodes.desc_name(shown, shown)
    is_required = default == "required"
    text = f" {default}" if is_required else f" = {default}"
    node += addnodes.desc_annotation(
        text, "", nodes.inline(text, text, classes=["required" if is_required else "default"])
    )
    return name
