"""`data check --all` finds the videos that training would refuse, whichever frames it draws, and no other."""

import pytest

from checked_sets import check, data_of
from numbered_videos import Recipe, write, write_packed_b_frames
from side4video.data.decode.frames import decode_frames
from side4video.data.decode.video_source import BrokenClip

FAST_START = {"movflags": "faststart"}
KINDS = {
    "mp4": lambda path: write(Recipe("mp4", "libx264", container_options=FAST_START), path),
    "mp4 with B-frames": lambda path: write(Recipe("mp4", "libx264", b_frames=2, container_options=FAST_START), path),
    "avi with packed B-frames": write_packed_b_frames,
    "transport stream": lambda path: write(Recipe("mpegts", "libx264", b_frames=2), path),
    "matroska": lambda path: write(Recipe("matroska", "libvpx-vp9"), path),
}
SHARES = (1.0, 0.97, 0.95, 0.9, 0.7, 0.4)


def is_refused(path):
    """Whether any of some draws is refused."""
    for choose in (range, lambda total: [0], lambda total: [total - 1], lambda total: [total // 3, total // 2]):
        try:
            decode_frames(str(path), choose)
        except BrokenClip:
            return True
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_the_check_names_what_training_would_refuse(tmp_path, pool, kind):
    (tmp_path / "clips").mkdir()
    rows = ["path,label,split"]
    for number, share in enumerate(SHARES):
        path = KINDS[kind](tmp_path / f"clips/{number}.video")
        raw = path.read_bytes()
        path.write_bytes(raw[: round(share * len(raw))])
        rows += [f"{number}.video,{number % 2},{'train' if number < 4 else 'test'}"]
    (tmp_path / "clips/list.csv").write_text("\n".join(rows) + "\n")
    dataset = {"kind": "list", "annotations": str(tmp_path / "clips/list.csv")}
    _, problems = check(data_of(dataset), pool, tmp_path / "saved.json")
    found = {problem.path for problem in problems if problem.kind == "broken"}
    refused = {str(path) for path in (tmp_path / "clips").glob("*.video") if is_refused(path)}
    assert found == refused
    assert str(tmp_path / "clips/0.video") not in found
    assert {problem.kind for problem in problems} <= {"broken"}
