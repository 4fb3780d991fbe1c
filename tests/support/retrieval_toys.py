"""Toy students of retrieval: the toy image towers with a toy text tower, and clips with captions."""

import functools
from types import SimpleNamespace

import torch

import blip_toys
import toys
from side4video.core.seeds import derive_seed, seeded
from side4video.data.streams.batch import NO_LABEL, ClipBatch
from side4video.engine.process_group import ProcessGroup
from side4video.engine.student import Student
from side4video.models.backbones.vit import ViTSpec
from side4video.models.methods.cap4video import Cap4VideoSpec, FrozenCap4VideoSpec
from side4video.models.methods.clip2video import CLIP2VideoSpec, FrozenCLIP2VideoSpec
from side4video.models.methods.clip4clip import CLIP4ClipSpec, FrozenCLIP4ClipSpec
from side4video.models.methods.side4video import Side4VideoSpec
from side4video.models.methods.stan import TrainedSTANSpec
from side4video.models.methods.ts2_net import TS2NetSpec
from side4video.models.methods.uniadapter_blip import UniAdapterBLIPSpec
from side4video.models.methods.zero_shot import ZeroShotSpec
from side4video.spec.optimization import OptimizationSpec
from side4video.tasks.context import TaskContext
from side4video.tasks.retrieval.spec import RetrievalSpec

METHODS = {
    "side4video": Side4VideoSpec(layers=2, dim=64),
    "side4video-authors": Side4VideoSpec(layers=3, dim=64, preset="authors", fusion="top"),
    "clip4clip-frozen": FrozenCLIP4ClipSpec(),
    "clip4clip-frozen-sequence": FrozenCLIP4ClipSpec(similarity="seq-transf", layers=2),
    "clip4clip": CLIP4ClipSpec(),
    "clip2video-frozen": FrozenCLIP2VideoSpec(),
    "clip2video": CLIP2VideoSpec(),
    "ts2-net": TS2NetSpec(shifted_blocks=(1, 2), patches=2, layers=2),
    "cap4video-frozen": FrozenCap4VideoSpec(layers=2),
    "cap4video-sentences": Cap4VideoSpec(scores="sentences", sentence_layers=1),
    "cap4video": Cap4VideoSpec(scores="both", layers=2, sentence_layers=1),
    "stan-trained": TrainedSTANSpec(layers=2),
    "uniadapter-blip": UniAdapterBLIPSpec(dim=9, rank=5),
    "zero-shot": ZeroShotSpec(),
}
MATCHINGS = {
    "mean": {"kind": "mean"},
    "weighted": {"kind": "token-wise"},
    "unweighted": {"kind": "token-wise", "weighted": False},
    "zero": {"kind": "token-wise", "padding": "zero"},
    "tight": {"kind": "tight", "layers": 2},
    "plain mean": {"kind": "mean", "normalize_frames": False},
    "query-weighted": {"kind": "query-weighted"},
    "temporal-alignment": {"kind": "temporal-alignment", "layers": 2, "centres": 3},
    "described": {"kind": "described"},
}
PAIR_MATCHING = {"kind": "image-text-matching", "candidates": 3, "queue": 9}
"""For `uniadapter-blip`, which takes no other."""
WORDS = 12
VERBS, THINGS = ("runs", "sleeps", "jumps over", "looks at"), ("a cat", "two dogs", "the red ball", "a man in a hat")


def text_tower(*, width=16, output_dim=24, layers=2, words=77, head_width=8, device="cpu", quick=False):
    text = {"kind": "transformer", "width": width, "layers": layers, "head_width": head_width, "words": words}
    sizes = {"image_size": 16, "patch_size": 8, "width": 16, "layers": 1, "head_width": 8, "quick_gelu": quick}
    weights = {"kind": "random", "seed": 5}
    return ViTSpec(**sizes, output_dim=output_dim, weights=weights, text=text).build_text_tower(device)


@functools.cache
def _text_state():
    return text_tower().state_dict()


def new_text_tower():
    """A copy of one toy tower: drawing its weights takes longer than all else here."""
    tower = text_tower(device="meta")
    own = {name: tensor.clone() for name, tensor in _text_state().items()}
    tower.load_state_dict(own, assign=True)
    tower.logit_scale = torch.tensor(2.6593)
    return tower


def towers(method, family="clip", *, device="cpu"):
    """The image tower that a method takes, and what gives it a new text tower."""
    if method.needs_cross_attention:
        sizes = {"image_size": toys.SIZE, "patch_size": 8}
        return blip_toys.image_tower(device=device, **sizes), functools.partial(blip_toys.text_tower, device, **sizes)
    if device == "meta":
        return toys.new_tower("fp32", family, device="meta"), functools.partial(text_tower, device="meta")
    tower = toys.toy_tower("fp32", family) if method.packable else toys.new_tower("fp32", family)
    return tower, new_text_tower


def caption(*parts):
    """A sentence drawn from its parts, some longer than `WORDS` tokens."""
    draw = derive_seed("caption", *parts)
    words = [THINGS[draw % 4], VERBS[draw // 4 % 4], THINGS[draw // 16 % 4], f"number {draw // 64 % 97}"]
    return " ".join(words * (3 if draw // 8192 % 5 == 0 else 1))


def make_clips(*parts, captions, first=0):
    """A batch whose clips have so many captions each; in evaluation they may have none, or several."""
    video = toys.make_batch(*parts, size=len(captions)).video_BTCHW
    numbers = torch.arange(first, first + len(captions))
    texts = tuple(tuple(caption(*parts, int(row), n) for n in range(count)) for row, count in enumerate(captions))
    about = tuple((caption("about", int(row)), caption("more", int(row)))[: 1 + int(row) % 2] for row in numbers)
    return ClipBatch(
        video, torch.full_like(numbers, NO_LABEL), numbers, torch.zeros_like(numbers), texts, descriptions=about
    )


def matching_of(name):
    """A matching by its name."""
    return {**MATCHINGS, "image-text": PAIR_MATCHING}[name]


class CaptionStream(toys.ToyStream):
    """Training steps as a function of (epoch, step) alone, with a caption a clip."""

    def batches(self, epoch, first_step=0):
        for step in range(first_step, self.steps_per_epoch):
            yield [make_clips(epoch, step, part, captions=[1] * toys.BATCH) for part in range(self.parts)]


class TestStream:
    """Evaluation batches of this worker; the last ones are smaller, some clips have no caption, some have several."""

    __test__ = False

    def __init__(self, process=None, *, videos=19, size=4):
        process = process or ProcessGroup()
        firsts = list(range(0, videos, size))[process.rank :: process.world]
        self.videos = videos
        self.parts = [
            make_clips("test", first, captions=[(place * 2 + 1) % 4 for place in range(first, last)], first=first)
            for first in firsts
            for last in [min(first + size, videos)]
        ]

    def batches(self):
        yield from self.parts


def make_student(name, method="side4video", *, matching="weighted", seed=0, family="clip", process=None, **options):
    """A student of retrieval; `task` in the options is `RetrievalSpec`'s, the rest `OptimizationSpec`'s."""
    method = METHODS[method] if isinstance(method, str) else method
    task_document = {"words": WORDS, "matching": matching_of(matching), **options.pop("task", {})}
    captions = options.pop("captions", ())
    document = {"batch_size": toys.BATCH, "length": {"steps": 7}, "warmup": {"steps": 1}, "learning_rate": 5e-3}
    spec = OptimizationSpec.model_validate({**document, "precision": "fp32", **options})
    tower, text = towers(method, family)
    process = process or ProcessGroup()
    needs = TaskContext(
        method=method,
        tower=tower,
        frames=toys.FRAMES,
        classes=(),
        encode_texts=lambda texts: SimpleNamespace(),
        text_tower=text,
        process=process,
        training_captions=lambda: captions,
    )
    with seeded(derive_seed(seed, "initial weights")):
        task, module = RetrievalSpec.model_validate(task_document).assemble(needs)
    reads = method.frame_request(tower.shape, frames=toys.FRAMES)
    return Student(name, module, task, spec, seed, reads, process)
