"""Making a feature cache: the same files whoever makes them, nothing made twice, nothing wrong taken for right."""

import json
import logging
import threading
from dataclasses import replace

import pytest
import torch

import kept
import toys
from side4video.core.errors import InputError
from side4video.core.units import GIB
from side4video.data.clip import Clip
from side4video.data.features import build, cache, store
from side4video.data.features.files import RowsFile, row_bytes
from side4video.data.streams.reader import EvaluationKey, TrainingKey
from side4video.models.feature_request import FeatureRequest
from side4video.models.frozen_features import frozen_features

DEEPER = FeatureRequest(frozenset({0, 1, 2}), frozenset({3}), pooled=True)


# ---- bytes


def payload(folder):
    """Bytes of tensors in all files, as their headers say."""
    total = 0
    for path in folder.rglob("*.safetensors"):
        content = path.read_bytes()
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        total += max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
    return total


@pytest.mark.parametrize("tower", [("fp32", "clip", "own-precision"), ("bf16", "eva-rotary", "8-bit")])
@pytest.mark.parametrize(
    "section",
    [{}, {"repeated_sampling": 2, "views": {"clips": 2, "crops": 3}}, {"train_fraction": 0.5}],
    ids=["plain", "copies", "fraction"],
)
def test_bytes_planned_are_bytes_on_disk(tmp_path, section, tower):
    tower = toys.toy_tower(*tower)
    opened = kept.open_cache(tmp_path, tower=tower, section=kept.data(**section), views=3)
    needed = sum(opened.stores[split].bytes_of(each) for split, each in opened.missing())
    kept.fill(opened, kept.Computing(tower))
    assert opened.bytes == needed == payload(tmp_path)
    assert opened.missing() == []


# ---- who makes it


@pytest.mark.parametrize("world", [2, 3])
def test_files_do_not_depend_on_the_number_of_workers(tmp_path, world):
    section = kept.data(views={"clips": 2, "crops": 3}, repeated_sampling=2)
    kept.fill(kept.open_cache(tmp_path / "one", section=section))
    several = [kept.open_cache(tmp_path / "several", section=section) for _ in range(world)]
    assert kept.Workers(world).fill(several) == []
    one = kept.files_of(tmp_path / "one")
    assert len(one) > 20
    assert one == kept.files_of(tmp_path / "several")


def test_files_do_not_depend_on_shards_or_on_what_was_there(tmp_path):
    """A pass is always the same clips: other files, the same rows."""
    tower = toys.toy_tower("bf16")
    whole = kept.open_cache(tmp_path / "whole", tower=tower, shard_clips=64)
    parts = kept.open_cache(tmp_path / "parts", tower=tower, shard_clips=8)
    kept.fill(kept.open_cache(tmp_path / "parts", tower=tower, shard_clips=8, views=1), kept.Computing(tower))
    seen = [[], []]
    for number, opened in enumerate((whole, parts)):

        def compute(video, entries, number=number):
            seen[number].append(video.clone())
            return kept.Computing(tower)(video, entries)

        kept.fill(opened, compute)
    composed = {tuple(video.flatten().tolist()) for video in seen[0]}
    assert len(seen[1]) < len(seen[0])
    assert all(tuple(video.flatten().tolist()) in composed for video in seen[1])
    for keys in ([TrainingKey(1, index) for index in range(20)], [TrainingKey(0, 19), TrainingKey(1, 3)]):
        left, right = whole.training.read(keys), parts.training.read(keys)
        assert torch.equal(left.video_BTCHW, right.video_BTCHW)
        assert all(torch.equal(left.stored[name], right.stored[name]) for name in left.stored)


def test_twin_whose_passes_follow_the_worker(tmp_path, monkeypatch):
    """Passes of other sizes are other clips: with a tower that sees its whole pass, other files."""

    class Seeing(kept.Computing):
        def __call__(self, video, entries):
            return {name: tensor + len(video) for name, tensor in super().__call__(video, entries).items()}

    kept.fill(kept.open_cache(tmp_path / "one"), Seeing())
    kept.fill(kept.open_cache(tmp_path / "again"), Seeing())
    assert kept.files_of(tmp_path / "one") == kept.files_of(tmp_path / "again")
    monkeypatch.setattr(build, "PASS_CLIPS", 3)
    kept.fill(kept.open_cache(tmp_path / "other"), Seeing())
    assert kept.files_of(tmp_path / "one") != kept.files_of(tmp_path / "other")


def test_a_mistake_of_one_worker_is_everyones(tmp_path):
    """Nobody is left waiting for a worker that has gone."""
    section = kept.data()
    clips = kept.clips_of(section)
    broken = replace(clips.train[9], path=str(tmp_path / "missing.mp4"), origin="list.csv:11")
    clips = replace(clips, train=[*clips.train[:9], broken, *clips.train[10:]])
    caches = [kept.open_cache(tmp_path / "cache", section=section, clips=clips) for _ in range(2)]
    raised = kept.Workers(2).fill(caches)
    assert len(raised) == 2
    assert all(isinstance(error, InputError) and "list.csv:11" in str(error) for error in raised)


def test_workers_that_do_not_see_each_others_files_say_so(tmp_path):
    caches = [kept.open_cache(tmp_path / f"node-{rank}") for rank in range(2)]
    raised = kept.Workers(2).fill(caches)
    assert len(raised) == 2
    assert all("allowed: a folder that all nodes share" in str(error) for error in raised)


# ---- what is made


def test_a_second_reader_computes_only_new_blocks(tmp_path):
    first = kept.fill(kept.open_cache(tmp_path))
    rows = 2 * 20 + 12
    assert first.calls == {"tokens-0": rows, "tokens-2": rows, "pooled": rows}
    before = kept.files_of(tmp_path)
    decoded = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("side4video.data.streams.reader.TrainingReader.read", lambda *_: decoded.append("train"))
        patch.setattr("side4video.data.streams.reader.EvaluationReader.read", lambda *_: decoded.append("test"))
        second = kept.fill(kept.open_cache(tmp_path, reads=DEEPER))
    assert second.calls == {"tokens-1": rows, "attention-3": rows}
    assert decoded == []  # frames are read back
    assert kept.fill(kept.open_cache(tmp_path, reads=DEEPER)).calls == {}
    after = kept.files_of(tmp_path)
    assert {name: after[name] for name in before} == before
    kept.fill(kept.open_cache(tmp_path / "at once", reads=DEEPER))
    assert kept.files_of(tmp_path / "at once") == {
        name: content for name, content in after.items() if not name.startswith("at once")
    }


def test_more_views_are_added_to_those_that_are_there(tmp_path):
    kept.fill(kept.open_cache(tmp_path, views=1))
    before = kept.files_of(tmp_path)
    assert kept.fill(kept.open_cache(tmp_path, views=3)).calls["pooled"] == 2 * 20
    after = kept.files_of(tmp_path)
    assert {name: after[name] for name in before} == before
    assert kept.fill(kept.open_cache(tmp_path, views=2)).calls == {}


def test_a_killed_build_goes_on(tmp_path):
    """Shards that are whole stay; only the others are computed; the end is the undisturbed one's."""

    class Killed(BaseException):
        pass

    class Dying(kept.Computing):
        def __call__(self, video, entries):
            if self.calls["pooled"] >= 24:  # in the middle of the second view's first shard
                raise Killed
            return super().__call__(video, entries)

    dying = Dying()
    with pytest.raises(Killed):
        kept.fill(kept.open_cache(tmp_path / "killed", shard_clips=16), dying)
    there = kept.files_of(tmp_path / "killed")
    whole = {name for name in there if name.endswith(".safetensors")}
    going_on = kept.fill(kept.open_cache(tmp_path / "killed", shard_clips=16))
    undisturbed = kept.fill(kept.open_cache(tmp_path / "undisturbed", shard_clips=16))
    assert 0 < len(whole) < len(kept.files_of(tmp_path / "undisturbed"))
    finished = 20  # the first view; a pass of the second was computed in vain
    assert dying.calls["pooled"] == 28
    assert going_on.calls["pooled"] == undisturbed.calls["pooled"] - finished
    assert kept.files_of(tmp_path / "killed") == kept.files_of(tmp_path / "undisturbed")


def test_twin_that_begins_anew_is_seen(tmp_path, monkeypatch):
    kept.fill(kept.open_cache(tmp_path, views=1))
    monkeypatch.setattr(store.FeatureStore, "_is_there", lambda *_: False)
    assert kept.fill(kept.open_cache(tmp_path, views=2)).calls["pooled"] != 20


def test_what_a_killed_writer_left_is_removed(tmp_path):
    opened = kept.open_cache(tmp_path, views=1)
    place = opened.train.path(0, 0, "pooled").parent
    place.mkdir(parents=True)
    left = place / ".pooled-00000.safetensors.12345678.partial"
    left.write_bytes(b"half a file")
    kept.fill(opened)
    assert not left.exists()


def test_two_runs_at_once_compute_each_shard_once(tmp_path):
    computing = [kept.Computing(), kept.Computing()]
    begin = threading.Barrier(2, timeout=60)

    def one(number):
        opened = kept.open_cache(tmp_path / "shared")
        missing = opened.missing()
        begin.wait()
        opened.check_disk_space(missing)
        opened.make(missing, computing[number], rank=0, world=1, together=kept.alone, tell=lambda *_: None)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(each.calls["pooled"] for each in computing) == 2 * 20 + 12
    kept.fill(kept.open_cache(tmp_path / "alone"))
    assert kept.files_of(tmp_path / "shared") == kept.files_of(tmp_path / "alone")


def test_progress_ends_with_all_clips(tmp_path):
    told = []
    kept.fill(kept.open_cache(tmp_path), tell=lambda done, clips: told.append((done, clips)))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {clips for _, clips in told} == {2 * 20 + 12}
    assert told[-1] == (52, 52)


# ---- what it is made of


def other_weights():
    return toys.new_tower(weights={"kind": "random", "seed": 6})


KEYS = {
    "other weights": lambda tmp: {"tower": other_weights()},
    "another activation": lambda tmp: {"tower": toys.new_tower(quick_gelu=True)},
    "other frames of the tower": lambda tmp: {"reads": FeatureRequest(frozenset({0, 2}), pooled=True, every=2)},
    "other clips": lambda tmp: {"section": kept.data(dataset={**kept.CLIPS, "seed": 1})},
    "other frames": lambda tmp: {"section": kept.data(sampling={"kind": "dense", "stride": 2})},
    "another size of frames": lambda tmp: {
        "section": kept.data(augmentation={"resize": {"kind": "relative", "ratio": 1}})
    },
    "another decoder": lambda tmp: {"section": kept.data(decoder="decord")},
    "another policy": lambda tmp: {"section": kept.data(broken_clips={"kind": "skip"})},
}
TRAINING_KEYS = {
    "another seed": {"seed": 1},
    "fewer clips": {"train_fraction": 0.5},
    "no flips": {"augmentation": {"flip_probability": 0.0}},
    "copies": {"repeated_sampling": 2},
}
TEST_KEYS = {"views": {"views": {"clips": 2}}, "crops": {"views": {"crops": 3}}}
SAME = {
    "loader": {"loader": {"workers": 3, "prefetch": 1, "cache": "memory"}},
    "cap": {"broken_clips": {"kind": "raise"}},
}


def keys(tmp_path, **options):
    opened = kept.open_cache(tmp_path, **options)
    return opened.train.key, opened.test.key


@pytest.mark.parametrize("kind", KEYS)
def test_anything_else_is_kept_elsewhere(tmp_path, kind):
    base, other = keys(tmp_path), keys(tmp_path, **KEYS[kind](tmp_path))
    assert base[0] != other[0]
    assert base[1] != other[1]


def test_each_split_depends_on_its_own_fields(tmp_path):
    base = keys(tmp_path)
    for section in TRAINING_KEYS.values():
        train, test = keys(tmp_path, section=kept.data(**section))
        assert train != base[0]
        assert test == base[1]
    for section in TEST_KEYS.values():
        train, test = keys(tmp_path, section=kept.data(**section))
        assert train == base[0]
        assert test != base[1]
    for section in SAME.values():
        assert keys(tmp_path, section=kept.data(**section)) == base
    assert keys(tmp_path, views=7, limit_gib=1) == base
    assert keys(tmp_path / "moved") == base
    skip = [kept.data(broken_clips={"kind": "skip", "cap": cap}) for cap in (0.1, 0.2)]
    assert keys(tmp_path, section=skip[0]) == keys(tmp_path, section=skip[1])


def test_other_labels_of_flipped_clips_are_kept_elsewhere(tmp_path):
    clips = kept.clips_of(kept.data())
    base, other = keys(tmp_path, clips=clips), keys(tmp_path, clips=replace(clips, mirrored={0: 0, 1: 1}))
    assert base[0] != other[0]
    assert base[1] == other[1]


def test_twin_whose_key_forgets_the_weights(tmp_path):
    """It would read another tower's tokens."""
    kept.fill(kept.open_cache(tmp_path))
    opened = kept.open_cache(tmp_path, tower=other_weights())
    assert len(opened.missing()) == 2 * 3 + 2
    forgetful = kept.open_cache(tmp_path)  # as if the weights were not in it
    batch = forgetful.testing.read([EvaluationKey(0, 0)])
    right = frozen_features(other_weights(), batch.video_BTCHW, kept.READS)
    assert forgetful.missing() == []
    assert not torch.equal(batch.stored["pooled"], right.pooled_BTD)


def test_the_index_says_what_the_key_is_made_of(tmp_path):
    opened = kept.open_cache(tmp_path)
    kept.fill(opened)
    index = json.loads((opened.train.folder / "index.json").read_text())
    assert index["weights"] == toys.toy_tower().fingerprint()
    assert index["shape"]["mean"] == list(toys.toy_tower().shape.mean)
    assert index["data"]["dataset"] == kept.data().dataset.fingerprint()
    assert index["data"]["seed"] == 0
    assert (index["every"], index["pass_clips"], index["shard_clips"], index["format"]) == (1, 8, 8, 1)
    assert "loader" not in index["data"]


def test_a_folder_of_something_else_is_refused(tmp_path):
    opened = kept.open_cache(tmp_path)
    opened.test.folder.mkdir(parents=True)
    (opened.test.folder / "index.json").write_text("{}")
    with pytest.raises(InputError, match=r"index\.json: it does not say what the folder's name stands for"):
        kept.fill(opened)


# ---- damage


def swap(folder, one, other):
    content = (folder / one).read_bytes()
    (folder / one).write_bytes((folder / other).read_bytes())
    (folder / other).write_bytes(content)


DAMAGE = {
    "cut": lambda folder: (folder / "pooled-00001.safetensors").write_bytes(
        (folder / "pooled-00001.safetensors").read_bytes()[:-1]
    ),
    "gone": lambda folder: (folder / "pooled-00001.safetensors").unlink(),
    "garbage": lambda folder: (folder / "pooled-00001.safetensors").write_bytes(b"garbage" * 99),
    "of another place": lambda folder: (folder / "pooled-00001.safetensors").write_bytes(
        (folder / "pooled-00000.safetensors").read_bytes()
    ),
    "of another block": lambda folder: swap(folder, "tokens-0-00001.safetensors", "tokens-2-00001.safetensors"),
    "without frames": lambda folder: (folder / "video-00001.safetensors").unlink(),
    "without labels": lambda folder: (folder / "rows-00001.safetensors").write_bytes(b""),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_shard_is_noticed_and_made_again(tmp_path, kind, caplog):
    opened = kept.open_cache(tmp_path)
    kept.fill(opened)
    before = kept.files_of(tmp_path)
    folder = opened.train.path(1, 1, "pooled").parent
    DAMAGE[kind](folder)
    damaged = opened.missing()
    assert [(split, each.view, each.shard) for split, each in damaged] == [("train", 1, 1)]
    with caplog.at_level(logging.WARNING):
        computed = kept.fill(kept.open_cache(tmp_path)).calls
    if kind not in ("gone", "without frames"):
        assert "it is built again" in caplog.text
    assert sum(computed.values()) == {"of another block": 16, "without frames": 0, "without labels": 0}.get(kind, 8)
    assert kept.files_of(tmp_path) == before


@pytest.mark.parametrize("kind", ["cut", "gone", "garbage", "of another place"])
def test_damage_while_a_run_reads_ends_in_one_line(tmp_path, kind):
    opened = kept.open_cache(tmp_path)
    kept.fill(opened)
    folder = opened.train.path(1, 1, "pooled").parent
    DAMAGE[kind](folder)
    with pytest.raises(
        InputError, match=r"pooled-00001\.safetensors: cannot be read: .*fix: remove the file"
    ) as caught:
        opened.training.read([TrainingKey(1, 9)])
    assert "\n" not in str(caught.value)
    opened.close()


def test_twin_that_trusts_names(tmp_path, monkeypatch):
    """Tokens of another block would be read without a word."""
    opened = kept.open_cache(tmp_path)
    kept.fill(opened)
    right = opened.training.read([TrainingKey(1, 9)])
    opened.close()
    swap(opened.train.path(1, 1, "pooled").parent, "tokens-0-00001.safetensors", "tokens-2-00001.safetensors")
    monkeypatch.setattr(store.FeatureStore, "about", lambda *_: {})
    monkeypatch.setattr(RowsFile, "holds", lambda *_: True)
    trusting = kept.open_cache(tmp_path)
    assert trusting.missing() == []
    with pytest.raises(KeyError):
        trusting.training.read([TrainingKey(1, 9)])
    assert "tokens-0" in right.stored


# ---- refusals


def test_what_is_over_the_limit_is_refused_before_anything_is_computed(tmp_path):
    opened = kept.open_cache(tmp_path / "features", limit_gib=kept.open_cache(tmp_path).bytes / GIB * 0.99)
    computing = kept.Computing()
    with pytest.raises(InputError, match=r"features: a cache of .* KiB: 2 versions of 20 training clips") as caught:
        kept.fill(opened, computing)
    assert "allowed: limit_gib" in str(caught.value)
    assert computing.calls == {}
    assert not (tmp_path / "features").exists()
    kept.fill(kept.open_cache(tmp_path / "features", limit_gib=opened.bytes / GIB * 1.01))


def test_a_disk_that_is_too_small_is_refused_before_anything_is_computed(tmp_path, monkeypatch):
    opened = kept.open_cache(tmp_path)
    free = opened.bytes - 1
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: cache.shutil._ntuple_diskusage(10**12, 10**12, free))
    computing = kept.Computing()
    with pytest.raises(InputError, match=r"features\.folder: .* have to be written .* are free · fix: make room"):
        kept.fill(opened, computing)
    assert computing.calls == {}
    # What is there already needs no room.
    monkeypatch.undo()
    kept.fill(kept.open_cache(tmp_path, views=1))
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: cache.shutil._ntuple_diskusage(10**12, 10**12, free))
    assert kept.fill(kept.open_cache(tmp_path)).calls["pooled"] == 20


def test_a_disk_that_is_full_ends_in_one_line_and_leaves_no_half_file(tmp_path, monkeypatch):
    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("side4video.data.features.files.RowsWriter.write", full)
    with pytest.raises(InputError, match=r"features\.folder: .*No space left.*fix: make room"):
        kept.fill(kept.open_cache(tmp_path))
    assert not list(tmp_path.rglob("*.partial"))


def test_a_folder_that_is_none_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"features\.folder: .* cannot be used"):
        kept.fill(kept.open_cache(tmp_path / "file"))
    with pytest.raises(InputError, match="NOWHERE in '\\$\\{NOWHERE\\}/features' is not set"):
        kept.open_cache("${NOWHERE}/features")


def test_rows_are_small_beside_features(tmp_path):
    opened = kept.open_cache(tmp_path)
    assert row_bytes(opened.train.layouts["rows"]) == 25


def test_captions_and_flipped_labels_are_kept(tmp_path):
    section = kept.data(augmentation={"flip_probability": 1.0})
    clips = kept.clips_of(section)
    opened = kept.open_cache(tmp_path, section=section, clips=clips)
    kept.fill(opened)
    stream = kept.training_stream(section, clips)
    for (decoded,), (read,) in zip(
        stream.batches(0), kept.training_stream(section, clips, cache=opened).batches(0), strict=True
    ):
        assert decoded.captions == read.captions
        assert decoded.captions[0]
        assert torch.equal(decoded.labels_B, read.labels_B)
        assert decoded.labels_B.tolist() != [clips.train[index].label for index in decoded.indices_B.tolist()]
    assert isinstance(clips.train[0], Clip)
