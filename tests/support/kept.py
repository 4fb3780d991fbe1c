"""Feature caches of a toy tower over a few real clips: made, filled and read as a run does, without a document."""

import threading
from collections import Counter

import toys
from side4video.core.errors import Side4VideoError
from side4video.data.features import CachedFeaturesSpec
from side4video.data.features.cache import Clips, FeatureCache
from side4video.data.spec import DataSpec
from side4video.data.streams.loader import EvaluationStream, TrainingStream
from side4video.models.feature_request import FeatureRequest
from side4video.models.frozen_features import entry_layouts, frozen_features, request_of, to_entries

READS = FeatureRequest(frozenset({0, 2}), pooled=True)
CLIPS = {"kind": "motion", "motions": ["left"], "train_clips": 20, "test_clips": 12, "frames": 8, "size": 32}


def data(**changes) -> DataSpec:
    """A data section for the toy tower; it draws whatever can be drawn."""
    section = {
        "dataset": CLIPS,
        "frames": toys.FRAMES,
        "size": toys.SIZE,
        "decoder": "pyav",
        "loader": {"workers": 0},
        **changes,
    }
    return DataSpec.model_validate(section)


def clips_of(section: DataSpec) -> Clips:
    """Its clips."""
    dataset = section.dataset
    return Clips(dataset.clips("train"), dataset.clips("test"), dataset.flipped_classes(), dataset.fingerprint())


def open_cache(folder, *, reads=READS, tower=None, section=None, clips=None, **fields) -> FeatureCache:
    """A cache in a folder; `fields` are those of its document."""
    tower, section = tower or toys.toy_tower(), section or data()
    spec = CachedFeaturesSpec(**{"views": 2, "folder": str(folder), "shard_clips": 8, **fields})
    layouts = entry_layouts(tower.shape, reads, frames=section.frames, dtype=tower.dtype, keeps_int8=tower.keeps_int8)
    made_of = {"weights": tower.fingerprint(), "shape": tower.shape.identity(), "every": reads.every}
    return FeatureCache(spec, section, clips or clips_of(section), tower=made_of, layouts=layouts)


class Computing:
    """The tower's side of making a cache; counts what is asked of it."""

    def __init__(self, tower=None, every=1):
        self.tower, self.every = tower or toys.toy_tower(), every
        self.calls: Counter[str] = Counter()
        """Rows computed, by entry."""

    def __call__(self, video, entries):
        for entry in entries:
            self.calls[entry] += len(video)
        return to_entries(frozen_features(self.tower, video, request_of(entries, self.every)))


def alone(work):
    """What a single worker does together."""
    work()


def fill(cache, compute=None, *, rank=0, world=1, together=alone, tell=None) -> Computing:
    """Make what is missing."""
    compute = compute or Computing()
    missing = cache.missing()
    cache.check_disk_space(missing)
    cache.make(missing, compute, rank=rank, world=world, together=together, tell=tell or (lambda done, clips: None))
    return compute


class Workers:
    """Several workers in threads, which wait for each other as processes do."""

    def __init__(self, world):
        self.world, self.barrier, self.mistakes = world, threading.Barrier(world, timeout=60), {}

    def together(self, work):
        """Of `ProcessGroup`."""
        mine = threading.get_ident()
        self.mistakes[mine] = None
        try:
            work()
        except Side4VideoError as error:
            self.mistakes[mine] = error
        self.barrier.wait()
        raised = [error for error in self.mistakes.values() if error is not None]
        self.barrier.wait()
        if raised:
            raise raised[0]

    def fill(self, caches) -> list[BaseException]:
        """Let each fill its cache; what they raised."""
        raised: list[BaseException] = []
        missing = caches[0].missing()
        caches[0].check_disk_space(missing)

        def one(rank):
            try:
                caches[rank].make(
                    missing, Computing(), rank=rank, world=self.world, together=self.together, tell=lambda *_: None
                )
            except BaseException as error:
                raised.append(error)

        threads = [threading.Thread(target=one, args=(rank,)) for rank in range(self.world)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return raised


def training_stream(section, clips, *, cache=None, views=2, **options) -> TrainingStream:
    """Of the same clips, kept or decoded."""
    options = {"batch_size": toys.BATCH, "mirrored": clips.mirrored, "views": views, **options}
    return TrainingStream(section, clips.train, stored=cache.training if cache else None, **options)


def evaluation_stream(section, clips, *, cache=None, **options) -> EvaluationStream:
    """Of the same clips, kept or decoded."""
    return EvaluationStream(
        section, clips.test, stored=cache.testing if cache else None, **{"batch_size": 5, **options}
    )


def files_of(folder) -> dict[str, bytes]:
    """What a cache's files hold, by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".lock")
    }
