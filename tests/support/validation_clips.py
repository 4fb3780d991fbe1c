"""Clips of the tiny experiment with a validation split: copies of those of the motion data, listed or in folders."""

import shutil

from side4video.data.clip import SPLITS
from tiny import tiny


def list_with_validation(folder):
    """A `list` document whose 20 training, 10 validation and 10 test clips are copied into `folder`."""
    plain, rows = tiny(), ["path,label,split"]
    folder.mkdir(parents=True, exist_ok=True)
    clips = {"train": plain.data.dataset.clips("train")}
    clips["val"], clips["test"] = plain.data.dataset.clips("test")[:10], plain.data.dataset.clips("test")[10:]
    for split in SPLITS:
        for number, clip in enumerate(clips[split]):
            shutil.copy(clip.path, folder / f"{split}{number}.mp4")
            rows.append(f"{split}{number}.mp4,{clip.label},{split}")
    (folder / "list.csv").write_text("\n".join(rows) + "\n")
    return {"kind": "list", "annotations": str(folder / "list.csv"), "class_names": {"kind": "numbered", "count": 10}}
