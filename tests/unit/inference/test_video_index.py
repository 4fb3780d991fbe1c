"""The index of a folder: what is known is not looked at again, what changed is, and a damaged file is noticed."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from side4video.core.errors import InputError
from side4video.inference.video_folder import VideoFile
from side4video.inference.video_index import Broken, EmbeddedVideos, Entry, IndexFile, index_path, refresh

ABOUT = {"run": "r", "weights": "w", "shape": (1, 2)}


def files(*names, size=1):
    return [VideoFile(name, size, 5) for name in names]


class Looker:
    """Keeps two tensors of each video, two videos at a time; whose name begins with `bad` is broken."""

    def __init__(self, fail_at=None):
        self.seen, self.fail_at = [], fail_at

    def __call__(self, missing):
        for first in range(0, len(missing), 2):
            part = missing[first : first + 2]
            if self.fail_at is not None and len(self.seen) >= self.fail_at:
                raise KeyboardInterrupt
            self.seen += [file.name for file in part]
            whole = [file for file in part if not file.name.startswith("bad")]
            values = torch.tensor([float(ord(file.name[0]) + file.bytes) for file in whole])
            kept = (values[:, None].expand(-1, 3), values[:, None, None].expand(-1, 2, 2).half()) if whole else ()
            broken = [Broken(file, "it is bad") for file in part if file.name.startswith("bad")]
            yield EmbeddedVideos([Entry(file, 1.5) for file in whole], kept, broken)


class Counts:
    def __init__(self):
        self.counts = []

    def report(self, phase, done=0, total=0):
        self.counts.append((done, total))


def looked(place, videos, about=ABOUT, kind=IndexFile, **options):
    """The index, what was looked at, and what was noted."""
    looker, file, progress = Looker(**options), kind(place, about), Counts()
    index = refresh(file, videos, looker, progress)
    assert progress.counts[-1:] == ([(len(looker.seen), len(looker.seen))] if looker.seen else [])
    assert [entry.file for entry in index.entries] == [each for each in videos if not each.name.startswith("bad")]
    for row, entry in enumerate(index.entries):
        expected = float(ord(entry.file.name[0]) + entry.file.bytes)
        assert all(bool((tensor[row].float() == expected).all()) for tensor in index.kept)
    return index, looker.seen, file.notes


@pytest.fixture
def place(tmp_path):
    return tmp_path / "index.safetensors"


def test_nothing_is_looked_at_twice(place):
    videos = files("a", "bad", "c")
    first, seen, _ = looked(place, videos)
    assert seen == ["a", "bad", "c"]
    written = place.read_bytes()
    second, seen, notes = looked(place, videos)
    assert (seen, notes) == ([], [])
    assert second.broken == first.broken == [Broken(videos[1], "it is bad")]
    assert second.entries == first.entries
    assert place.read_bytes() == written
    assert [tensor.dtype for tensor in second.kept] == [torch.float32, torch.float16]


def test_changed_new_and_removed_files(place):
    looked(place, files("a", "b", "c", "bad"))
    later = [*files("a"), *files("c", size=7), *files("d")]
    index, seen, notes = looked(place, later)
    assert seen == ["c", "d"]
    assert index.broken == notes == []
    assert looked(place, files("a"))[1] == []
    assert looked(place, files("a", "b"))[1] == ["b"]


def test_a_folder_of_broken_videos_is_known_too(place):
    assert looked(place, files("bad1", "bad2"))[1] == ["bad1", "bad2"]
    index, seen, _ = looked(place, files("bad1", "bad2"))
    assert seen == []
    assert len(index.broken) == 2
    assert looked(place, files("a", "bad1", "bad2"))[1] == ["a"]


@pytest.mark.parametrize("change", [{"run": "other"}, {"weights": "x"}, {"shape": (1, 3)}, {"precision": "bf16"}])
def test_another_run_looks_again(place, change):
    looked(place, files("a", "b"))
    _, seen, notes = looked(place, files("a", "b"), about=ABOUT | change)
    assert seen == ["a", "b"]
    assert "another run" in notes[0]


def cut(data):
    return data[: len(data) - 3]


def flipped(data):
    """One bit of the last number."""
    return data[:-1] + bytes([data[-1] ^ 1])


def renamed(data):
    """A header that says something else of the same numbers."""
    return data.replace(rb"[\"a\",1,5,1.5]", rb"[\"e\",1,5,1.5]")


@pytest.mark.parametrize("damage", [cut, flipped, renamed, lambda data: b"", lambda data: b"not at all " * 9])
def test_a_damaged_index_is_made_anew(place, damage):
    looked(place, files("a", "b"))
    whole = place.read_bytes()
    assert damage(whole) != whole
    place.write_bytes(damage(whole))
    _, seen, notes = looked(place, files("a", "b"))
    assert seen == ["a", "b"]
    assert "is damaged" in notes[0]
    assert looked(place, files("a", "b"))[1:] == ([], [])


class Unchecked(IndexFile):
    def checksum(self, header, tensors):
        return ""


def test_without_a_checksum_the_damage_would_stay(place):
    """The broken twin: it is the checksum that notices a flipped bit."""
    looked(place, files("a", "b"), kind=Unchecked)
    place.write_bytes(flipped(place.read_bytes()))
    with pytest.raises(AssertionError):
        looked(place, files("a", "b"), kind=Unchecked)


def test_without_size_and_time_a_change_would_stay(place, monkeypatch):
    """The broken twin: of files known by name alone the old rows are kept."""
    monkeypatch.setattr(VideoFile, "__eq__", lambda self, other: self.name == other.name)
    monkeypatch.setattr(VideoFile, "__hash__", lambda self: hash(self.name))
    looked(place, files("a"))
    assert looked(place, files("a", size=2))[1] == []


def test_what_was_seen_before_an_interruption_is_kept(place):
    with pytest.raises(KeyboardInterrupt):
        looked(place, files("a", "b", "c", "d"), fail_at=2)
    assert looked(place, files("a", "b", "c", "d"))[1] == ["c", "d"]


def test_what_was_seen_is_written_along_the_way(place):
    file, looker = IndexFile(place, ABOUT), Looker()
    known = []

    class Counter:
        def report(self, phase, done=0, total=0):
            known.append(len(IndexFile(place, ABOUT).read().entries))

    refresh(file, files("a", "b", "c", "d", "e"), looker, Counter(), save_every_seconds=-1.0)
    assert known == [0, 2, 4]


def test_an_index_is_whole_or_as_it_was(place, monkeypatch):
    looked(place, files("a"))
    before = place.read_bytes()

    whole = Path.write_bytes

    def fails(path, data):
        whole(path, data[: len(data) // 2])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", fails)
    _, seen, notes = looked(place, files("a", "b"))
    assert seen == ["b"]
    assert "could not be written" in notes[0]
    assert place.read_bytes() == before
    assert list(place.parent.iterdir()) == [place]


def test_what_is_no_index_is_not_replaced(place):
    save_file({"weight": torch.zeros(3)}, place, metadata={"format": "pt"})
    with pytest.raises(InputError, match="holds something else"):
        looked(place, files("a"))


def test_names_that_are_no_text(place):
    video = VideoFile(b"caf\xe9.mp4".decode("utf-8", "surrogateescape"), 1, 2)
    looked(place, [video])
    assert looked(place, [video])[1] == []


def test_the_file_holds_nothing_but_tensors_and_json(place):
    looked(place, files("a"))
    data = place.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert set(header) == {"__metadata__", "kept0", "kept1"}
    assert json.loads(header["__metadata__"]["side4video-search"])["about"]["run"] == "r"


def test_places(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    own = {"run_id": "0123456789abcdef", "weights": "best", "folder": tmp_path}
    default = index_path(None, **own)
    assert default.parent == tmp_path / "home" / "search"
    assert default.name.startswith("0123456789ab-best-")
    others = [own | {"run_id": "1" * 16}, own | {"weights": "last"}, own | {"folder": tmp_path / "a"}]
    assert default not in {index_path(None, **each) for each in others}
    assert index_path(str(tmp_path / "some"), **own) == tmp_path / "some" / default.name
    assert index_path(str(tmp_path / "my.safetensors"), **own) == tmp_path / "my.safetensors"
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="--index"):
        index_path(str(tmp_path / "file"), **own)
