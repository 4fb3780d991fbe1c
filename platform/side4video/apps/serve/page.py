"""The page on which people try a served model; its script is `reports/templates/serve.js`."""

from typing import Literal

from side4video.reports.render import render


def upload_page(name: str, *, kind: Literal["labels", "search"], about: str, max_bytes: int) -> str:
    """The page as HTML.

    Args:
        name: Of the model.
        kind: Whether the model predicts labels, or ranks videos by a text.
        about: A sentence about the model.
        max_bytes: Limit of one upload.
    """
    return render("serve.html.j2", title=name, kind=kind, about=about, max_bytes=max_bytes)
