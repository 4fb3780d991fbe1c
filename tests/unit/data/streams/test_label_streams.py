"""Several labels and labels of heads, from the list to the batch: flips, copies, processes, packed sets, caches."""

import dataclasses
from pathlib import Path

import pytest
import torch

from label_sets import make_labelled_list
from side4video.data.clip import Clip
from side4video.data.features.cache import Clips, FeatureCache
from side4video.data.features.spec import CachedFeaturesSpec
from side4video.data.manifest import Manifest, clip_record
from side4video.data.streams import reader
from side4video.data.streams.batch import NO_LABEL
from side4video.data.streams.loader import EvaluationStream, TrainingStream
from video_sets import data_spec

FLIPPED = {"augmentation": {"flip_probability": 0.5}}


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    return make_labelled_list(tmp_path_factory.mktemp("labelled"))


def read(document, *, mirrored=None, heads=None, **fields):
    """Two epochs of training batches, and all test batches."""
    spec = data_spec(document, **fields)
    dataset = spec.dataset
    training = TrainingStream(
        spec,
        dataset.clips("train"),
        batch_size=4,
        mirrored=dataset.flipped_classes() if mirrored is None else mirrored,
        mirrored_heads=dataset.flipped_heads() if heads is None else heads,
    )
    testing = EvaluationStream(spec, dataset.clips("test"), batch_size=3)
    found = [batch for epoch in (0, 1) for step in training.batches(epoch) for batch in step], list(testing.batches())
    training.close(), testing.close()
    return found


def test_batches_have_the_labels_of_their_clips(listed):
    clips = data_spec(listed).dataset.clips("train"), data_spec(listed).dataset.clips("test")
    for own, batches in zip(clips, read(listed, repeated_sampling=2), strict=True):
        most = max(len(clip.labels) for clip in own)
        for batch in batches:
            assert batch.all_labels_BL.shape == (len(batch), most)
            for row, index in enumerate(batch.indices_B.tolist()):
                labels = [each for each in batch.all_labels_BL[row].tolist() if each != NO_LABEL]
                assert tuple(labels) == own[index].labels
                assert tuple(batch.head_labels_BS[row].tolist()) == own[index].head_labels


def test_data_sets_of_single_labels_have_none(listed):
    document = {key: value for key, value in listed.items() if key not in ("columns", "label_columns")}
    for batches in read(document):
        assert all(batch.all_labels_BL is None and batch.head_labels_BS is None for batch in batches)


def flipped_rows(listed, monkeypatch):
    """The labels of all training rows, and whether each was flipped, which is noted where clips are augmented."""
    flips, augment = [], reader.augment_clip

    def noting(*args, **kwargs):
        frames, is_flipped = augment(*args, **kwargs)
        flips.append(is_flipped)
        return frames, is_flipped

    monkeypatch.setattr(reader, "augment_clip", noting)
    mirrored, heads = {0: 2, 2: 0, 1: 3, 3: 1}, ({0: 1, 1: 0}, {0: 1, 1: 0})
    training, _ = read(listed, mirrored=mirrored, heads=heads, **FLIPPED)
    return training, flips, mirrored, heads


def test_flips_change_all_labels(listed, monkeypatch):
    clips = data_spec(listed).dataset.clips("train")
    training, flips, mirrored, heads = flipped_rows(listed, monkeypatch)
    assert 2 < sum(flips) < len(flips) - 2
    rows = [(batch, row) for batch in training for row in range(len(batch))]
    for (batch, row), is_flipped in zip(rows, flips, strict=True):
        clip = clips[int(batch.indices_B[row])]
        labels = {each for each in batch.all_labels_BL[row].tolist() if each != NO_LABEL}
        assert labels == ({mirrored[each] for each in clip.labels} if is_flipped else set(clip.labels))
        own = tuple(batch.head_labels_BS[row].tolist())
        changed = tuple(each.get(label, label) for each, label in zip(heads, clip.head_labels, strict=True))
        assert own == (changed if is_flipped else clip.head_labels)


def test_twin_that_flips_the_frames_alone(listed, monkeypatch):
    monkeypatch.setattr(reader.TrainingReader, "_mirrored_labels", lambda self, clip: clip)
    with pytest.raises(AssertionError):
        test_flips_change_all_labels(listed, monkeypatch)


def test_processes_and_copies_keep_them(listed):
    alone, several = read(listed), read(listed, loader={"workers": 1})
    for one, other in zip((*alone[0], *alone[1]), (*several[0], *several[1]), strict=True):
        assert torch.equal(one.all_labels_BL, other.all_labels_BL)
        assert torch.equal(one.head_labels_BS, other.head_labels_BS)
        moved = one.to("meta")
        assert moved.all_labels_BL.is_meta
        assert moved.head_labels_BS.is_meta


def test_a_cache_of_features_keeps_them(listed, tmp_path):
    spec = data_spec(listed, augmentation={"flip_probability": 0.5})
    dataset = spec.dataset
    clips = Clips(
        dataset.clips("train"), dataset.clips("test"), {0: 2, 2: 0}, "the clips", (), ({0: 1, 1: 0}, {0: 1, 1: 0})
    )
    cache = FeatureCache(CachedFeaturesSpec(folder=str(tmp_path), views=2), spec, clips, tower={}, layouts={})
    without = FeatureCache(
        CachedFeaturesSpec(folder=str(tmp_path), views=2),
        spec,
        dataclasses.replace(clips, mirrored_heads=()),
        tower={},
        layouts={},
    )
    assert cache.train.key != without.train.key
    cache.make(
        list(cache.missing()),
        lambda video, entries: {},
        rank=0,
        world=1,
        together=lambda work: work(),
        tell=lambda *_: None,
    )
    streams = [
        TrainingStream(
            spec, clips.train, batch_size=4, mirrored=clips.mirrored, mirrored_heads=clips.mirrored_heads,
            views=2, stored=stored,
        )
        for stored in (None, cache.training)
    ]  # fmt: skip
    computed, stored = ([batch for step in stream.batches(1) for batch in step] for stream in streams)
    for one, other in zip(computed, stored, strict=True):
        assert torch.equal(one.all_labels_BL, other.all_labels_BL)
        assert torch.equal(one.head_labels_BS, other.head_labels_BS)
    for stream in streams:
        stream.close()
    cache.close()


def test_a_record_of_a_clip_has_only_what_there_is():
    plain = Clip("a.mp4", label=0)
    record = clip_record(plain, "train", shard="s", extent=(0, 1), name="a")
    assert not {"labels", "head_labels"} & set(record)
    several = dataclasses.replace(plain, label=None, labels=(), head_labels=(0, 3))
    record = clip_record(several, "train", shard="s", extent=(0, 1), name="a")
    assert (record["labels"], record["head_labels"]) == ([], [0, 3])
    manifest = Manifest("f", {}, ("a",), {"0": 0}, (), "0")
    assert not {"heads", "mirrored_heads"} & set(manifest.as_text().replace('"', " ").split())


def test_a_packed_set_has_the_same_labels(listed, tmp_path):
    from side4video.apps.data_pack.encode import Encoding
    from side4video.apps.data_pack.pack import Packing, repack
    from side4video.core.progress import SILENT
    from side4video.core.worker_pool import WorkerPool

    folder = Path(tmp_path / "packed")
    with WorkerPool(1) as pool:
        repack(Packing(data_spec(listed), folder, Encoding(codec="copy"), pool, SILENT), files=4)
    packed, original = data_spec({"kind": "packed", "root": str(folder)}).dataset, data_spec(listed).dataset
    assert packed.heads() == original.heads()
    assert packed.flipped_heads() == original.flipped_heads()
    assert packed.fingerprint() == original.fingerprint()
    for split in ("train", "test"):
        for one, other in zip(packed.clips(split), original.clips(split), strict=True):
            assert (one.label, one.labels, one.head_labels) == (other.label, other.labels, other.head_labels)
