"""What a check found is kept whole, and only what has changed is looked at again."""

import json
import os
import shutil

import pytest

from checked_sets import check, data_of, list_rows, write_list
from side4video.apps.data_check import saved as kept_module
from side4video.apps.data_check.check import Work
from side4video.apps.data_check.listing import list_clips
from side4video.apps.data_check.saved import saved_results_path


@pytest.fixture
def data(folder):
    """All files have one size, so that all are hashed."""
    largest = max(path.stat().st_size for path in folder.glob("*.mp4"))
    for path in folder.glob("*.mp4"):
        path.write_bytes(path.read_bytes().ljust(largest, b"\0"))
    return data_of(write_list(folder, list_rows()))


def test_the_second_time_nothing_is_done(data, pool, tmp_path):
    first, problems = check(data, pool, tmp_path / "kept.json")
    again, the_same = check(data, pool, tmp_path / "kept.json")
    assert first.work == Work(files_hashed=6, files_known=0, clips_decoded=6, clips_known=0)
    assert again.work == Work(files_hashed=0, files_known=6, clips_decoded=0, clips_known=6)
    assert (problems, the_same) == ([], [])
    assert again.facts == first.facts
    assert again.digests == first.digests


def test_what_changed_is_done_again(data, folder, pool, tmp_path):
    check(data, pool, tmp_path / "kept.json")
    status = (folder / "a.mp4").stat()
    os.utime(folder / "a.mp4", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    (folder / "b.mp4").unlink()
    work = check(data, pool, tmp_path / "kept.json")[0].work
    assert work == Work(files_hashed=1, files_known=4, clips_decoded=1, clips_known=4)
    # A file of the same size and time in its place is the one case that nobody sees.
    shutil.copy2(folder / "c.mp4", folder / "d.mp4")
    os.utime(folder / "d.mp4", ns=(0, 0))
    assert check(data, pool, tmp_path / "kept.json")[0].work.files_hashed == 1


def test_another_way_to_decode_keeps_the_hashes(data, folder, pool, tmp_path):
    check(data, pool, tmp_path / "kept.json")
    longer = data.model_copy(update={"frames": 6})
    assert check(longer, pool, tmp_path / "kept.json")[0].work == Work(0, 6, 6, 0)


def test_whoever_is_interrupted_goes_on(data, pool, tmp_path):
    class Interrupted:
        def report(self, phase, done=0, total=0):
            if phase == "hashing files" and done == 4:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(data, pool, tmp_path / "kept.json", progress=Interrupted())
    assert len(json.loads((tmp_path / "kept.json").read_text())["files"]) == 4
    work = check(data, pool, tmp_path / "kept.json")[0].work
    assert work == Work(files_hashed=2, files_known=4, clips_decoded=6, clips_known=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips", "kept.json"]


@pytest.mark.parametrize("damage", ["", "{", '{"format": 1}', '{"format": 1, "files": [[1]]}', "[]"])
def test_a_damaged_file_is_made_anew(data, pool, tmp_path, damage):
    place = tmp_path / "kept.json"
    check(data, pool, place)
    place.write_text(damage)
    assert check(data, pool, place)[0].work.files_hashed == 6
    assert check(data, pool, place)[0].work.files_hashed == 0


def test_a_place_that_cannot_be_written_is_a_note(data, pool, tmp_path):
    (tmp_path / "file").touch()
    with kept_module.SavedResults(tmp_path / "file" / "kept.json", data) as kept:
        kept.store_digest("a", kept_module.FileVersion(1, 2), "hash")
    assert "could not be written" in kept.notes[-1]


def test_it_is_written_now_and_then(data, tmp_path):
    kept = kept_module.SavedResults(tmp_path / "kept.json", data, save_every_seconds=-1)
    kept.store_digest("a", kept_module.FileVersion(1, 2), "hash")
    assert json.loads((tmp_path / "kept.json").read_text())["files"] == [["a", [1, 2], "hash"]]


def test_files_that_are_not_listed_any_more_are_forgotten(data, folder, pool, tmp_path):
    check(data, pool, tmp_path / "kept.json")
    write_list(folder, [row for row in list_rows() if row[0] != "a.mp4"])
    (folder / "b.mp4").touch()
    check(data, pool, tmp_path / "kept.json")
    assert str(folder / "a.mp4") not in (tmp_path / "kept.json").read_text()


def test_each_set_has_a_place_of_its_own(data, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    clips = [clip for _, clip in list_clips(data.dataset).clips()]
    place = saved_results_path(data, clips)
    assert place.parent == tmp_path / "home" / "checks"
    (folder / "a.mp4").write_bytes(b"mended")
    assert saved_results_path(data, clips) == place
    assert saved_results_path(data.model_copy(update={"frames": 6}), clips) == place
    other = data_of({**data.dataset.model_dump(), "root": str(folder), "delimiter": "comma"})
    assert saved_results_path(other, clips) != place
