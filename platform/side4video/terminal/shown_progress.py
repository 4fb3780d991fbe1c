"""Where progress is shown: in a notebook's cell, on a terminal, in a log, or nowhere."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from side4video.core.arguments import found_type
from side4video.core.errors import InputError
from side4video.core.progress import SILENT, Progress
from side4video.terminal.notebook_view import NotebookView, in_notebook

Shown = Progress | bool
"""True: a bar in a notebook and on a terminal, plain lines on stderr elsewhere. False: nothing. Or whatever receives
reports."""


@contextmanager
def shown_progress(
    progress: Shown,
    title: str,
    *,
    terminal: Callable[[], AbstractContextManager[Progress]],
    names: Mapping[str, str] | None = None,
) -> Iterator[Progress]:
    """Progress as asked for.

    `terminal` makes the view for terminals and logs. `names` are those of students in a notebook, by their keys.

    Raises:
        InputError: `progress` is nothing that receives reports.
    """
    if not isinstance(progress, bool):
        if not callable(getattr(progress, "report", None)):
            allowed = "True, False, or an object with a method `report`"
            raise InputError("progress", found_type(progress), allowed=allowed, fix="progress=True")
        yield progress
    elif not progress:
        yield SILENT
    else:
        with NotebookView(title, names=names) if in_notebook() else terminal() as view:
            yield view
