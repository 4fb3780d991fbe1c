"""A half of the classes may lack the mirror image of a class: flips are then refused, and our files have none."""

from pathlib import Path

import pytest

from side4video.core.errors import InputError
from side4video.spec.check import check_files
from side4video.spec.load import load_experiment
from tiny import tiny

FILES = Path(__file__).parents[3] / "experiments" / "base-to-novel"
COUNTS = {"hold": 4, "turn left": 4, "turn right": 2, "wait": 2}


def spec(folder, **data):
    rows = [
        f"{split} {label} {number}.mp4,{label},{split}"
        for label, count in COUNTS.items()
        for split, some in (("train", count), ("test", 1))
        for number in range(some)
    ]
    (folder / "list.csv").write_text("\n".join(("path,label,split", *rows)) + "\n", encoding="utf-8")
    for row in rows:
        (folder / row.partition(",")[0]).touch()
    return tiny(data={"dataset": {"kind": "list", "annotations": str(folder / "list.csv")}, **data})


@pytest.mark.parametrize("half", ["base", "novel"])
def test_a_half_without_the_mirror_image_of_a_class(tmp_path, half):
    with pytest.raises(InputError) as caught:
        check_files(spec(tmp_path, classes=half))
    assert str(caught.value) == (
        f"data.augmentation.flip_probability: 0.5, and data.classes is {half}: the mirror images of some classes are "
        "in the other half · allowed: 0, or data.classes: all · fix: data.augmentation.flip_probability: 0"
    )
    check_files(spec(tmp_path, classes=half, augmentation={"flip_probability": 0}))
    check_files(spec(tmp_path))


@pytest.mark.parametrize("file", sorted(FILES.glob("ssv2-*.yaml")), ids=lambda path: path.stem)
def test_files_of_halves_of_something_something_flip_nothing(file):
    """Whether the pairs of its classes are in one half is not known before its lists are there."""
    assert load_experiment(file).data.augmentation.flip_probability == 0


def test_there_are_such_files():
    assert len(list(FILES.glob("ssv2-*.yaml"))) == 2
