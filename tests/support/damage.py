"""Damaged videos: what a download that broke off, a bad disk or a malicious hand leaves of a good file.

A damaged file is a function of the good one, the kind of damage and a number, so a corpus is the same each time.
"""

import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

Damage = Callable[[bytes, random.Random], bytes]

_HOLDERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"stsd", b"avc1"}
_AFTER_HEADER = {b"stsd": 8, b"avc1": 78}
"""Bytes between a box's header and the boxes inside it."""
_LARGE = (0, 1, 7, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_COUNTED = (b"stts", b"ctts", b"stss", b"stsc", b"stco", b"stsz", b"sdtp", b"elst")


def boxes(raw: bytes, begin: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of every box of an MP4, those inside others too."""
    end = len(raw) if end is None else end
    while begin + 8 <= end:
        size, kind = int.from_bytes(raw[begin : begin + 4], "big"), raw[begin + 4 : begin + 8]
        if size < 8 or begin + size > end:
            return
        yield kind, begin, begin + size
        if kind in _HOLDERS:
            yield from boxes(raw, begin + 8 + _AFTER_HEADER.get(kind, 0), begin + size)
        begin += size


def flip_bits(raw: bytes, rng: random.Random) -> bytes:
    """One to a thousand bits, anywhere."""
    return _flipped(raw, rng, 0, len(raw), 10 ** rng.randrange(4))


def flip_header(raw: bytes, rng: random.Random) -> bytes:
    """A few bits of the part that says what is where."""
    kinds = {kind: (begin, end) for kind, begin, end in boxes(raw)}
    return _flipped(raw, rng, *kinds.get(b"moov", (0, min(400, len(raw)))), rng.choice((1, 3, 20)))


def flip_codec(raw: bytes, rng: random.Random) -> bytes:
    """A few bits of what the decoder is set up with: frame size, reference frames, profile."""
    begin = raw.find(b"avcC")
    return _flipped(raw, rng, begin + 4, begin + 40, rng.choice((1, 2, 5))) if begin > 0 else flip_header(raw, rng)


def cut(raw: bytes, rng: random.Random) -> bytes:
    """The end is missing."""
    return raw[: rng.randrange(1, len(raw))]


def behead(raw: bytes, rng: random.Random) -> bytes:
    """The beginning is missing."""
    return raw[rng.randrange(1, len(raw) // 2) :]


def hole(raw: bytes, rng: random.Random) -> bytes:
    """A stretch is zero, as in a download that was never finished, or random."""
    begin = rng.randrange(len(raw))
    length = min(rng.choice((16, 512, 4096, len(raw) // 2)), len(raw) - begin)
    filling = bytes(length) if rng.random() < 0.5 else rng.randbytes(length)
    return raw[:begin] + filling + raw[begin + length :]


def swap_boxes(raw: bytes, rng: random.Random) -> bytes:
    """Two boxes change places."""
    found = sorted(rng.sample(_boxes_or_parts(raw, rng), 2), key=lambda box: box[1])
    (_, a, b), (_, c, d) = found
    if c < b:  # the second is inside the first
        return raw[:a] + raw[c:d] + raw[b:]
    return raw[:a] + raw[c:d] + raw[b:c] + raw[a:b] + raw[d:]


def double_box(raw: bytes, rng: random.Random) -> bytes:
    """A box stands there twice, or many times."""
    _, begin, end = rng.choice(_boxes_or_parts(raw, rng))
    return raw[:begin] + raw[begin:end] * rng.choice((2, 2, 50)) + raw[end:]


def drop_box(raw: bytes, rng: random.Random) -> bytes:
    """A box is gone."""
    _, begin, end = rng.choice(_boxes_or_parts(raw, rng))
    return raw[:begin] + raw[end:]


def resize_box(raw: bytes, rng: random.Random) -> bytes:
    """A box lies about its length."""
    _, begin, _ = rng.choice(_boxes_or_parts(raw, rng))
    return _put(raw, begin, rng.choice(_LARGE), 4)


def huge_frame(raw: bytes, rng: random.Random) -> bytes:
    """Frames of up to 65535 x 65535 pixels in the track's and the picture's header; of no pixel, too."""
    if (at := raw.find(b"\xb0\x81")) > 0:  # Matroska's width, in one byte
        raw = _put(raw, at, rng.choice((0xB08100, 0xB081FF)) if rng.random() < 0.5 else rng.randrange(1 << 24), 3)
    for kind, begin, end in boxes(raw):
        value = rng.choice((0, 1, 8192, 16384, 32767, 65535))
        if kind == b"tkhd":
            raw = _put(_put(raw, end - 8, value << 16, 4), end - 4, rng.choice((value, 1, 65535)) << 16, 4)
        elif kind == b"avc1":
            raw = _put(_put(raw, begin + 32, value, 2), begin + 34, rng.choice((value, 1, 65535)), 2)
    return raw


def huge_picture(raw: bytes, rng: random.Random) -> bytes:
    """Pictures of up to 32768 x 32768 pixels as the codec itself says it (H.264 in MP4 or Matroska)."""
    at = raw.find(b"\x67", max(0, raw.find(b"avcC")))  # a sequence parameter set, its length before it
    if b"avcC" not in raw and b"V_MPEG4/ISO/AVC" not in raw:
        return huge_frame(raw, rng)
    length = int.from_bytes(raw[at - 2 : at], "big")
    written = _with_size(raw[at : at + length], *(rng.choice((1, 256, 512, 1024, 2048)) for _ in range(2)))
    changed = raw[: at - 2] + len(written).to_bytes(2, "big") + written + raw[at + length :]
    for _, begin, end in boxes(raw):
        if begin < at < end:
            changed = _put(changed, begin, end - begin + len(written) - length, 4)
    return changed


def _with_size(parameters: bytes, width: int, height: int) -> bytes:
    """An H.264 sequence parameter set for pictures of another size, in blocks of 16 pixels."""
    bits = "".join(f"{byte:08b}" for byte in parameters[4:].replace(b"\0\0\3", b"\0\0"))
    at = 0

    def number() -> int:
        nonlocal at
        zeros = bits.index("1", at) - at
        at += 2 * zeros + 1
        return int(bits[at - zeros - 1 : at], 2) - 1

    number()
    if parameters[1] >= 100:
        for _ in range(3):
            number()
        at += 2
    number()
    if number() == 0:
        number()
    number()
    at += 1
    begin = at
    number(), number()
    size = "".join("0" * (value.bit_length() - 1) + f"{value:b}" for value in (width, height))
    changed = bits[:begin] + size + bits[at:]
    changed += "0" * (-len(changed) % 8)
    plain = bytes(int(changed[i : i + 8], 2) for i in range(0, len(changed), 8))
    for low in range(4):  # three bytes that mean something else when they stand together
        plain = plain.replace(bytes((0, 0, low)), bytes((0, 0, 3, low)))
    return parameters[:4] + plain


def huge_count(raw: bytes, rng: random.Random) -> bytes:
    """A table that promises billions of frames, or frames of billions of bytes."""
    tables = [(begin, end) for kind, begin, end in boxes(raw) if kind in _COUNTED and end - begin >= 24]
    if not tables:
        return flip_header(raw, rng)
    begin, end = rng.choice(tables)
    at = begin + 12 + 4 * rng.randrange(min(4, (end - begin - 12) // 4))
    return _put(raw, at, rng.choice(_LARGE), 4)


def odd_clock(raw: bytes, rng: random.Random) -> bytes:
    """A length of centuries, or a clock that stands still."""
    for kind, begin, _ in boxes(raw):
        if kind in (b"mvhd", b"mdhd") and rng.random() < 0.7:
            raw = _put(raw, begin + rng.choice((20, 24)), rng.choice(_LARGE), 4)
    return raw


DAMAGES: dict[str, Damage] = {
    function.__name__.replace("_", "-"): function
    for function in (
        flip_bits, flip_header, flip_codec, cut, behead, hole, swap_boxes, double_box, drop_box, resize_box,
        huge_frame, huge_picture, huge_count, odd_clock,
    )
}  # fmt: skip


def damaged(raw: bytes, kind: str, number: int) -> bytes:
    """The good file `raw`, damaged; the same each time."""
    return DAMAGES[kind](raw, random.Random(f"{kind} {number}"))


def no_videos(sources: dict[str, bytes]) -> dict[str, bytes]:
    """What is no video, by a name that says it is; and videos whose name says they are something else."""
    rng = random.Random("no videos")
    files = {f"empty{suffix}": b"" for suffix in (".mp4", ".mkv", ".webm", ".avi")}
    files |= {f"short-{size}.mp4": rng.randbytes(size) for size in (1, 2, 7, 8, 9, 31, 32, 100, 5000, 50_000)}
    files |= {f"zeros-{size}.mp4": bytes(size) for size in (1, 8, 1000, 100_000)}
    files["text.mp4"] = b"a list of films\n" * 300
    files["text.mkv"] = "déjà vu\n".encode() * 300
    files["page.mp4"] = b"<!DOCTYPE html><html><body>404</body></html>"
    files["playlist.mp4"] = b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n"
    files["endless.mp4"] = b"ffconcat version 1.0\nfile endless.mp4\n"
    files["raw.mp4"] = b"YUV4MPEG2 W65535 H65535 F25:1\n" + b"FRAME\n" * 50
    files["picture.mp4"] = b"\x89PNG\r\n\x1a\n" + rng.randbytes(500)
    files["photo.mp4"] = b"\xff\xd8\xff\xe0" + rng.randbytes(500)
    files["archive.mp4"] = b"PK\x03\x04" + rng.randbytes(500)
    files["moving.gif.mp4"] = b"GIF89a" + rng.randbytes(500)
    files["head-only.mp4"] = b"\0\0\0\x18ftypisom" + bytes(12)
    for name, raw in sources.items():
        for suffix in (".mp4", ".mkv", ".webm", ".avi", ".mpg", ".ts", ".jpg", ".txt", ".wav", ""):
            files[f"{Path(name).stem}-named{suffix}"] = raw
    return files


def write_corpus(folder: Path, sources: dict[str, bytes], *, each: int) -> list[Path]:
    """`each` files of every kind of damage, from the sources in turn, and what is no video at all."""
    files: dict[str, bytes] = {}
    names = sorted(sources)
    for kind in DAMAGES:
        for number in range(each):
            name = names[number % len(names)]
            files[f"{kind}-{number:03d}-{name}"] = damaged(sources[name], kind, number)
    files |= no_videos(sources)
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    return [folder / name for name in files]


def _flipped(raw: bytes, rng: random.Random, begin: int, end: int, times: int) -> bytes:
    changed = bytearray(raw)
    for _ in range(times):
        changed[rng.randrange(begin, end)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _put(raw: bytes, at: int, value: int, length: int) -> bytes:
    return raw[:at] + (value % (1 << 8 * length)).to_bytes(length, "big") + raw[at + length :]


def _boxes_or_parts(raw: bytes, rng: random.Random) -> list[tuple[bytes, int, int]]:
    """The boxes of an MP4; of another container, parts at random."""
    found = list(boxes(raw))
    if len(found) > 1:
        return found
    cuts = sorted(rng.sample(range(len(raw)), 6))
    return [(b"", begin, end) for begin, end in pairwise(cuts)]
