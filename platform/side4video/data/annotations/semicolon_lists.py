"""Lists of lines `id;label`, in which 20BN published Something-Something v1 and Jester."""

from pathlib import Path

from side4video.core.errors import InputError
from side4video.data.annotations.labelled import LabelledVideo
from side4video.data.annotations.tables import read_text


def read_semicolon_list(path: Path, *, example: str) -> list[LabelledVideo]:
    """The videos of a list; `example` is a line for messages.

    Raises:
        InputError: The file is missing, or a line is not of this form; file and line are named.
    """
    videos = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        name, _, label = (cell.strip() for cell in line.partition(";"))
        if name and label:
            videos.append(LabelledVideo(name, label, f"{path}:{number}"))
        elif line.strip():
            raise InputError(
                f"{path}:{number}",
                f"found {line.strip()!r:.80}",
                allowed=f"id;label, such as {example}",
                fix="is it the list of another format (`format: list`), or one without labels?",
            )
    return videos
