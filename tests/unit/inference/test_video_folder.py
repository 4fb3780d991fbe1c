"""Which files of a folder are videos, and what tells two versions of one apart."""

import os

import pytest

from side4video.core.errors import InputError
from side4video.inference.video_folder import duration_seconds, list_videos


def names(folder):
    return [file.name for file in list_videos(folder)[0]]


def test_videos_of_all_folders_by_name(tmp_path):
    for name in ("b.mp4", "a/z.MOV", "a/b/c.webm", "list.csv", ".hidden.mp4", ".trash/x.mp4", "mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"0")
    assert names(tmp_path) == ["a/b/c.webm", "a/z.MOV", "b.mp4"]


def test_links_are_followed_and_end(tmp_path):
    folder, other = tmp_path / "folder", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (other / "a.mp4").touch()
    (folder / "there").symlink_to(other)
    (other / "back").symlink_to(folder)
    (folder / "gone.mp4").symlink_to(tmp_path / "nothing")
    assert names(folder) == ["gone.mp4", "there/a.mp4"]


def test_a_change_of_size_or_time_is_another_version(tmp_path):
    file = tmp_path / "a.mp4"
    file.write_bytes(b"12")
    os.utime(file, ns=(0, 1))
    (first,) = list_videos(tmp_path)[0]
    assert list_videos(tmp_path)[0] == [first]
    os.utime(file, ns=(0, 2))
    (second,) = list_videos(tmp_path)[0]
    file.write_bytes(b"123")
    os.utime(file, ns=(0, 2))
    (third,) = list_videos(tmp_path)[0]
    assert len({first, second, third}) == 3


def test_a_folder_without_videos_and_no_folder(tmp_path):
    (tmp_path / "a.txt").touch()
    with pytest.raises(InputError, match=r"no video in it · fix: check the path · allowed: files that end in \.3gp"):
        list_videos(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        list_videos(tmp_path / "a.txt")
    with pytest.raises(InputError, match="no such folder"):
        list_videos(tmp_path / "b")


def test_length_of_what_is_no_video(tmp_path):
    (tmp_path / "a.mp4").write_text("no video")
    assert duration_seconds(tmp_path / "a.mp4") is None
