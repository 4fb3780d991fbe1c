"""A command lists the clips of a data set once; two commands of one program each look again."""

import shutil
from pathlib import Path

import pytest

from side4video.core.spec import Spec
from side4video.data import storage
from side4video.data.datasets import CaptionsSpec, FolderSpec, ListSpec
from side4video.data.listing_once import listed_once, listing_once
from side4video.data.storage import relative_path
from side4video.spec.check_videos import check_experiments
from tiny import tiny

RANDOM = {"kind": "random", "test_fraction": 0.3, "val_fraction": 0.2}
GROUP = {"kind": "group", "test_fraction": 0.3, "val_fraction": 0.2}


def folder_set(folder: Path, **fields: object) -> FolderSpec:
    parts = ("",) if fields else ("train", "val", "test")
    for part in parts:
        for name in ("jump", "run"):
            (folder / part / name).mkdir(parents=True)
            for number in range(10):
                (folder / part / name / f"{number}.mp4").touch()
    return FolderSpec.model_validate({"root": str(folder), **fields})


def list_set(folder: Path, **fields: object) -> ListSpec:
    rows = [f"{number}.mp4,{'jump' if number % 2 else 'run'},{number // 2}" for number in range(20)]
    for number in range(20):
        (folder / f"{number}.mp4").touch()
    (folder / "list.csv").write_text("\n".join(["path,label,group", *rows]) + "\n")
    return ListSpec.model_validate({"annotations": str(folder / "list.csv"), **fields})


def captions_set(folder: Path, **fields: object) -> CaptionsSpec:
    list_set(folder)
    rows = [f"{number}.mp4,someone runs {number}" for number in range(20)]
    (folder / "captions.csv").write_text("\n".join(["path,caption", *rows]) + "\n")
    return CaptionsSpec.model_validate({"annotations": str(folder / "captions.csv"), **fields})


def class_folders(listings):
    return [folder for folder in listings if folder.endswith(("/jump", "/run"))]


SETS = [
    pytest.param(folder_set, {}, id="folders"),
    pytest.param(folder_set, {"split_by": RANDOM}, id="folder-random"),
    pytest.param(list_set, {"split_by": RANDOM}, id="list-random"),
    pytest.param(list_set, {"split_by": GROUP}, id="list-group"),
    pytest.param(captions_set, {"split_by": RANDOM}, id="captions-random"),
]


def everything(dataset):
    splits = dataset.splits()
    return splits, {split: dataset.clips(split) for split in splits}, dataset.classes(), dataset.fingerprint()


@pytest.fixture
def listings(monkeypatch):
    """Folders that are listed and clips that are given to splits, in their order."""
    found = []
    scanned, located = storage._local_entries, storage.resolve_inside
    monkeypatch.setattr(storage, "_local_entries", lambda folder: found.append(folder) or scanned(folder))
    for module in ("datasets.list", "datasets.captions", "annotations.captioned"):
        monkeypatch.setattr(
            f"side4video.data.{module}.resolve_inside",
            lambda root, path, origin: found.append(path) or located(root, path, origin),
        )
    return found


@pytest.mark.parametrize(("make", "fields"), SETS)
def test_a_block_gives_what_calls_outside_give_and_lists_once(tmp_path, listings, make, fields):
    dataset = make(tmp_path, **fields)
    outside = everything(dataset)
    many = len(listings)
    listings.clear()
    with listing_once():
        assert everything(dataset) == outside
        once = len(listings)
        assert everything(dataset.model_copy()) == outside  # an equal document shares the listing
        assert len(listings) == once < many
    if make is folder_set:
        assert len(class_folders(listings)) == len(set(class_folders(listings)))


@pytest.mark.parametrize(("make", "fields"), SETS)
def test_the_next_block_sees_new_files(tmp_path, make, fields):
    dataset = make(tmp_path, **fields)
    with listing_once():
        before = everything(dataset)
    if make is folder_set:
        shutil.copytree(tmp_path / ("train" if not fields else "") / "run", tmp_path / "more")
        added = next(iter(tmp_path.rglob("run"))) / "new.mp4"
        added.touch()
        shutil.rmtree(tmp_path / "more")
    else:
        file = Path(dataset.annotations)
        file.write_text(file.read_text() + file.read_text().splitlines()[-1].replace("19.mp4", "20.mp4") + "\n")
        (tmp_path / "20.mp4").touch()
    with listing_once():
        after = everything(dataset)
    assert sum(map(len, after[1].values())) == sum(map(len, before[1].values())) + 1
    assert after[3] != before[3]


def test_a_list_that_a_caller_changes_is_its_own(tmp_path):
    dataset = folder_set(tmp_path, split_by=RANDOM)
    with listing_once():
        dataset.clips("train").clear()
        assert len(dataset.clips("train")) == 10


def test_documents_that_differ_share_nothing(tmp_path):
    dataset = list_set(tmp_path, split_by=RANDOM)
    other = dataset.model_copy(update={"split_by": dataset.split_by.model_copy(update={"seed": 1})})
    with listing_once():
        assert dataset.clips("test") != other.clips("test")


class _Counted(Spec):
    name: str = "a"

    @listed_once
    def count(self, split: str) -> list[str]:
        CALLS.append((self.name, split))
        if split == "wrong":
            raise ValueError(split)
        return [split]


CALLS: list[tuple[str, str]] = []


def test_inner_blocks_belong_to_the_outer_one_and_errors_are_not_kept():
    CALLS.clear()
    with listing_once():
        with listing_once():
            _Counted().count("train")
        _Counted().count("train")
        for _ in range(2):
            with pytest.raises(ValueError, match="wrong"):
                _Counted().count("wrong")
    _Counted().count("train")
    assert CALLS == [("a", "train"), ("a", "wrong"), ("a", "wrong"), ("a", "train")]


def test_a_check_lists_a_folder_once(tmp_path, listings):
    dataset = folder_set(tmp_path, split_by=RANDOM).model_dump(mode="json")
    said = check_experiments([("", tiny(data={"dataset": dataset}))])
    assert said.startswith("20 clips, 2 classes, 10 train, 4 val, 6 test")
    assert class_folders(listings) == [f"{tmp_path}/jump", f"{tmp_path}/run"]
    check_experiments([("", tiny(data={"dataset": dataset}))])
    assert class_folders(listings) == 2 * [f"{tmp_path}/jump", f"{tmp_path}/run"]


@pytest.mark.parametrize(
    "address", ["/r/a/b.mp4", "/r//a.mp4", "/r/./a.mp4", "/r/a/../b.mp4", "/r/.a/b", "/r/a/", "/q/a", "/r"]
)
@pytest.mark.parametrize("root", ["/r", "/", "/r/a"])
def test_the_short_way_to_a_relative_path_is_the_long_one(address, root):
    import os

    assert relative_path(address, root) == os.path.relpath(address, root)
