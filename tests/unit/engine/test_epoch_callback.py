"""The end of an epoch lists what every worker met, once."""

import json
from types import SimpleNamespace

from side4video.engine.callbacks import EpochInfo
from side4video.engine.epoch_callback import EpochCallback


def row(origin):
    return {"index": 0, "path": f"{origin}.mp4", "origin": origin, "reason": "empty"}


def test_broken_clips_of_all_workers_each_once(tmp_path):
    (tmp_path / "kept").mkdir()
    others = [row("list:2"), row("list:3")]
    process = SimpleNamespace(
        is_first=True, gather=lambda own: [own, others], barrier=lambda: None, run_on_all_workers=lambda work: work()
    )
    epoch_callback = EpochCallback(
        SimpleNamespace(students=[], active_students=[]),
        SimpleNamespace(process=process, clear=lambda: None, gather_open_window=list),
        evaluate=lambda students: {},
        every_epochs=1,
        identity={},
        scratch=tmp_path,
        report=lambda report: None,
        constants={},
        broken=lambda: [row("list:1"), row("list:2")],
    )
    for epoch in range(2):
        epoch_callback.after_epoch(EpochInfo(epoch, next_step=epoch + 1, is_last=epoch == 1))
    assert sorted(each["origin"] for each in epoch_callback.broken_clips) == ["list:1", "list:2", "list:3"]
    state = json.loads((tmp_path / "checkpoint" / "checkpoint.json").read_text())
    assert state["broken_clips"] == epoch_callback.broken_clips
