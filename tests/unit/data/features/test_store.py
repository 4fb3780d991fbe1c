"""A file of kept features fits one place: moved to another, it is foreign there and is made again."""

import shutil
from dataclasses import replace

import pytest
import torch

from side4video.data.features.files import InvalidRowsFile, RowsWriter
from side4video.data.features.store import ROWS, FeatureStore, MissingShard

LAYOUT = {"labels": torch.empty((), dtype=torch.int64, device="meta")}
ENTRIES = {ROWS: LAYOUT, "pooled": LAYOUT}
SHARD = 3


@pytest.fixture
def store(tmp_path):
    """Six clips in two shards, in two views, twice each."""
    identity = {"weights": "abc"}
    return FeatureStore(tmp_path, "train", identity, ENTRIES, clips=6, views=2, copies=2, shard_clips=SHARD)


def write(store, view, shard, entry):
    rows = len(store.clips_of(shard)) * store.copies
    about = store.about(view, shard, entry)
    writer = RowsWriter(store.path(view, shard, entry), store.layouts[entry], rows=rows, about=about)
    writer.write(0, {"labels": torch.full((rows,), 10 * view + shard)})
    writer.finish()
    return store.path(view, shard, entry)


PLACES = [(view, shard, entry) for view in range(2) for shard in range(2) for entry in ENTRIES]


def write_all(store):
    for place in PLACES:
        write(store, *place)


def test_files_in_their_places_are_there(store):
    assert len(list(store.missing())) == 4
    assert store.absent() == len(PLACES)
    write_all(store)
    assert list(store.missing()) == []
    assert store.absent() == 0
    for view, shard, entry in PLACES:
        file = store.open(view, shard, entry)
        assert file.read("labels").tolist() == [10 * view + shard] * 2 * SHARD
        file.close()


@pytest.mark.parametrize(
    "other", [(1, 0, "pooled"), (0, 1, "pooled"), (0, 0, ROWS)], ids=["another view", "another shard", "another entry"]
)
def test_a_file_that_was_moved_is_foreign(store, other):
    """The layouts and the number of rows are the same everywhere: only the header tells."""
    write_all(store)
    view, shard, entry = other
    shutil.copyfile(store.path(0, 0, "pooled"), store.path(view, shard, entry))
    with pytest.raises(InvalidRowsFile, match="another place"):
        store.open(view, shard, entry)
    assert list(store.missing()) == [MissingShard(view, shard, (entry,))]
    assert store.lacks(view, shard) == (entry,)
    store.open(0, 0, "pooled").close()


@pytest.mark.parametrize(
    "change", [{"split": "test"}, {"identity": {"weights": "def"}}], ids=["another split", "of something else"]
)
def test_a_file_of_another_store_is_foreign(store, change):
    other = replace(store, **change)
    source, target = write(store, 0, 0, "pooled"), other.path(0, 0, "pooled")
    assert source != target
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    with pytest.raises(InvalidRowsFile, match="another place"):
        other.open(0, 0, "pooled")


def test_another_number_of_rows_is_foreign(store):
    write(store, 0, 0, "pooled")
    with pytest.raises(InvalidRowsFile, match="another place"):
        replace(store, copies=3).open(0, 0, "pooled")


def test_bytes_are_of_all_views_and_copies(store):
    rows = 6 * 2
    assert store.bytes == rows * 2 * 2 * 8  # two views of two entries of an int64 each
    assert store.bytes_of(MissingShard(0, 0, ("pooled",))) == SHARD * 2 * 8
    assert replace(store, clips=7).shards == 3
    assert replace(store, clips=7).clips_of(2) == range(6, 7)
