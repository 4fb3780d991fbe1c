"""The Sphinx extension: anchors that are written as HTML become targets of links, of the search and of the index.

The pages write `<a id="field-data.frames"></a>`, which every Markdown viewer understands. Sphinx does not look into
HTML, so it is told here which anchors there are.
"""

import re
from typing import Any, cast

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.domains.std import StandardDomain
from sphinx.transforms import SphinxTransform

ANCHOR = re.compile(r'<a id="(?P<name>[^"]+)">')
FIELD = "field-"
"""How the anchor of a field begins; its dotted name follows."""


class Anchors(SphinxTransform):
    """Registers every `<a id>` of a page."""

    default_priority = 840  # before the domains collect the index, and before links inside the page are resolved

    def apply(self, **_: Any) -> None:
        """Called by Sphinx for each page."""
        slugs = self.env.metadata[self.env.docname].setdefault("myst_slugs", {})
        inside: dict[str, Any] = getattr(self.document, "myst_slugs", {})
        domain = cast("StandardDomain", self.env.get_domain("std"))
        for node in list(self.document.findall(nodes.raw)):
            for match in ANCHOR.finditer(node.astext()):
                name = match["name"]
                slugs[name] = inside[name] = (node.line or 0, name, name)
                if name.startswith(FIELD):
                    field = name.removeprefix(FIELD)
                    domain.note_object("field", field, name, location=node)
                    entries = [("pair", f"{field}; field", name, "", None)]
                    node.parent.insert(node.parent.index(node), addnodes.index(entries=entries))


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_object_type("field", "field", objname="field")
    app.add_transform(Anchors)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
