"""Opens a video for a decoder: the path of a local file, or the bytes of any other."""

import io
import os
import stat

from side4video.core.errors import InputError
from side4video.data.storage import byte_range, is_remote, read_bytes

Source = str | bytes
"""Path of a file, or its content."""

_HEAD_BYTES = 512
_MANIFESTS = {
    b"<mpd": "a DASH manifest",
    b"#extm3u": "an HLS playlist",
    b"ffconcat": "a list of FFmpeg",
    b"[playlist]": "a playlist",
    b"<smoothstreamingmedia": "a manifest of Smooth Streaming",
    b"webvtt": "subtitles",
    b"v=0\r\no=": "a session description (SDP)",
    b"v=0\no=": "a session description (SDP)",
    b"rtsptext": "a link of QuickTime",
    b"[reference]": "a list of links",
    b"<asx": "a playlist",
}
"""First bytes of files that make FFmpeg open others, lower case."""


class BrokenClip(InputError):
    """A clip that cannot be decoded: file, place in the list, reason, and whether the file is a video at all."""

    def __init__(self, path: str, origin: str, reason: str, is_video: bool = True) -> None:
        """One line: origin (or the path), path and reason."""
        self.path, self.origin, self.reason, self.is_video = path, origin, reason, is_video
        super().__init__(
            origin or path,
            f"the clip {path} cannot be decoded: {reason}" if origin else f"cannot be decoded: {reason}",
            fix="repair or remove it, or set broken_clips: {kind: skip}",
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling between processes."""
        return (BrokenClip, (self.path, self.origin, self.reason, self.is_video))


def open_source(address: str, origin: str) -> Source:
    """The path of a local file, or the bytes of any other.

    Refuses files that are obviously no video before a decoder opens them: FFmpeg would render a text file as a terminal
    session, and follow the addresses in a playlist.

    Raises:
        BrokenClip: The file is missing, empty, or no video by its first bytes.
    """
    try:
        if is_remote(address) or byte_range(address):
            source: Source = read_bytes(address)
            head = bytes(source[:_HEAD_BYTES])
        else:
            mode = os.stat(address).st_mode  # noqa: PTH116 - one call per clip, paths are text here
            if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
                reason = "it is a folder" if stat.S_ISDIR(mode) else "it is not a regular file"
                raise BrokenClip(address, origin, reason)
            source = address
            with open(address, "rb") as file:  # noqa: PTH123
                head = file.read(_HEAD_BYTES)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise BrokenClip(
            address, origin, "there is no such file" if missing else error.strerror or str(error)
        ) from error
    if reason := _not_video_reason(head):
        raise BrokenClip(address, origin, reason, is_video=False)
    return source


def as_file(source: Source) -> str | io.BytesIO:
    """The argument for a decoder: the path, or a file object in memory (the bytes are not copied).

    The path is absolute: FFmpeg takes what stands before a colon in a relative one for a protocol.
    """
    return os.path.abspath(source) if isinstance(source, str) else io.BytesIO(source)  # noqa: PTH100 - a link is kept


def _not_video_reason(head: bytes) -> str:
    """The reason why these bytes are not the start of a video; empty if they may be."""
    if not head:
        return "the file is empty"
    for mark, what in _MANIFESTS.items():
        if mark in head.lower():
            return f"it is {what}, which names other files; a video holds its frames itself"
    text = head.decode("utf-8", errors="ignore")
    if b"\0" in head or len(text.encode()) < len(head) - 3 or head.startswith(b"YUV4MPEG2"):
        return ""
    if text.lstrip("\ufeff \t\r\n").lower().startswith(("<!doctype", "<html", "<head", "<?xml", "<body")):
        return "it is a web page, not a video (a failed download?)"
    if sum(character.isprintable() or character.isspace() for character in text) > 0.95 * len(text):
        return "it is a text file, not a video"
    return ""
