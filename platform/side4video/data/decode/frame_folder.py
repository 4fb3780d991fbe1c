"""Reads videos that are stored as folders of images, one image per frame: `img_00001.jpg`, `img_00002.jpg` and so on.

Files are numbered from 1, as in Something-Something and by the common extraction scripts. The number of frames is the
number of files; counts in lists are ignored, because they differ between extractions.

Arrays carry shape suffixes: T frames, H W pixels, C channels (RGB).
"""

import io
import os
import stat

import numpy as np

from side4video.core.errors import InputError
from side4video.data.decode.container import MAX_PIXELS
from side4video.data.decode.frame_names import file_names, frame_numbers
from side4video.data.decode.frames import FrameSelector
from side4video.data.decode.transforms import shrink_frames
from side4video.data.decode.video_source import BrokenClip
from side4video.data.storage import file_size, is_remote, join_address, read_bytes

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")  # nothing that starts other programs, as Pillow does for PostScript


def read_frame_folder(
    folder: str, choose: FrameSelector, *, pattern: str, short_side: int | None = None, origin: str = ""
) -> np.ndarray:
    """Chosen frames of a folder, uint8 `[T, H, W, 3]`, in the order of the indices.

    Args:
        folder: The folder of one video.
        choose: Called once with the true number of frames; gives indices that count from 0.
        pattern: How the images are named.
        short_side: Shrink frames so that the short side has so many pixels, the aspect kept; never enlarges.
        origin: Where the clip is listed, for the message.

    Raises:
        BrokenClip: The folder is missing or empty, a number is left out, or a wanted image cannot be read.
    """
    total = _checked_count(folder, pattern, origin)
    wanted = [int(position) for position in choose(total)]
    if not wanted or min(wanted) < 0 or max(wanted) >= total:
        raise IndexError(f"choose({total}) gave {len(wanted)} indices, some outside 0..{total - 1}")
    found: dict[int, np.ndarray] = {}
    size: tuple[int, ...] = ()
    for position in sorted(set(wanted)):
        name = pattern.format(position + 1)
        picture_HWC = _read_image(folder, name, origin)
        size = size or picture_HWC.shape
        if picture_HWC.shape != size:
            has, others = (f"{shape[1]}x{shape[0]}" for shape in (picture_HWC.shape, size))
            raise BrokenClip(folder, origin, f"{name} has {has} pixels, and frames before it {others}")
        found[position] = shrink_frames(picture_HWC[None], short_side)[0]
    return np.stack([found[position] for position in wanted])


def check_frame_folder(folder: str, *, pattern: str, origin: str = "") -> None:
    """Read every frame of a folder, one at a time.

    Raises:
        BrokenClip: As `read_frame_folder`, for any frame.
    """
    for position in range(_checked_count(folder, pattern, origin)):
        _read_image(folder, pattern.format(position + 1), origin)


def _checked_count(folder: str, pattern: str, origin: str) -> int:
    """The number of frames, after checking that they are numbered from 1 without gaps."""
    try:
        names = file_names(folder)
    except InputError as error:
        raise BrokenClip(folder, origin, error.found) from error
    except OSError as error:
        reason = "there is no such folder" if isinstance(error, FileNotFoundError) else str(error.strerror)
        raise BrokenClip(folder, origin, reason) from error
    numbers = frame_numbers(names, pattern)
    if not numbers:
        held = f"{len(names)} other files, such as {min(names)}" if names else "nothing"
        raise BrokenClip(folder, origin, f"no image {pattern} in it; it holds {held}")
    if 0 in numbers:
        raise BrokenClip(folder, origin, f"it has {pattern.format(0)}, and frames are numbered from 1")
    if max(numbers) != len(numbers):
        gap = next(number for number in range(1, max(numbers)) if number not in numbers)
        last = pattern.format(max(numbers))
        raise BrokenClip(folder, origin, f"{pattern.format(gap)} is missing, and there are frames up to {last}")
    return len(numbers)


def _read_image(folder: str, name: str, origin: str) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    path = join_address(folder, name)
    try:
        file: str | io.BytesIO = path
        if is_remote(path):
            file = io.BytesIO(read_bytes(path))
        elif not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - opening a pipe would wait for ever
            raise BrokenClip(folder, origin, f"{name} is not a regular file")
        with Image.open(file, formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                reason = f"{name} claims {image.width} x {image.height} pixels"
                raise BrokenClip(folder, origin, reason)
            return np.array(image.convert("RGB"))
    except UnidentifiedImageError as error:
        reason = f"no image of {', '.join(_FORMATS)}" if file_size(path) else "the file is empty"
        raise BrokenClip(folder, origin, f"{name} cannot be read: {reason}") from error
    except FileNotFoundError as error:
        raise BrokenClip(folder, origin, f"{name} is missing") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BrokenClip(folder, origin, f"{name} cannot be read: {' '.join(str(error).split())[:160]}") from error
