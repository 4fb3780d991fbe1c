"""Toy towers, a toy set of clips whose labels are known, and packs of students on them.

`METHODS` x `FAMILIES` are what the promises of `tests/conformance` are about: `CASES` can be built, `REFUSED` cannot.
"""

import functools
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

import clip_towers
import families
from side4video.core.seeds import derive_seed, seeded
from side4video.engine.pack import Pack
from side4video.engine.process_group import ProcessGroup
from side4video.engine.student import Student, StudentModule
from side4video.models.frozen_features import features_of_batch
from side4video.models.methods.aim import AIMSpec
from side4video.models.methods.atm import ATMSpec
from side4video.models.methods.attentive import AttentiveSpec
from side4video.models.methods.dist import DiSTSpec
from side4video.models.methods.evl import EVLSpec
from side4video.models.methods.full import FullSpec
from side4video.models.methods.gated_recurrence import GatedRecurrenceSpec
from side4video.models.methods.linear import LinearSpec
from side4video.models.methods.lst import LSTSpec
from side4video.models.methods.side4video import Side4VideoSpec
from side4video.models.methods.st_adapter import STAdapterSpec
from side4video.models.methods.text4vis import FrozenText4VisSpec, Text4VisSpec
from side4video.models.methods.uniformerv2 import FrozenUniFormerV2Spec, UniFormerV2Spec
from side4video.models.methods.vjepa_probe import VJEPAProbeSpec
from side4video.models.networks.full import PROJECTIONS
from side4video.models.towers.text_tower import TextFeatures
from side4video.planning.meta_model import MetaModel
from side4video.spec.optimization import OptimizationSpec
from side4video.tasks.recognition.classification import Classification

FRAMES, SIZE, BATCH, STEPS_PER_EPOCH = 4, 16, 4, 3
CLASSES = ("a", "b", "c")
# Students of one pack see the same frames: `dist`, whose tower sees every second one, goes with its like only.
METHODS = {
    "side4video": Side4VideoSpec(layers=2, dim=64),
    "side4video-authors": Side4VideoSpec(layers=3, dim=64, preset="authors", fusion="top"),
    "side4video-gated": Side4VideoSpec(layers=2, dim=64, temporal_gate="difference"),
    "side4video-differences": Side4VideoSpec(layers=2, dim=64, stem="differences", temporal_gate="difference"),
    "st-adapter": STAdapterSpec(dim=16),
    "st-adapter-both": STAdapterSpec(dim=16, positions="both"),
    "aim": AIMSpec(),
    "evl": EVLSpec(layers=3),
    "evl-without-lookup": EVLSpec(layers=3, temporal_attention=False),
    "dist": DiSTSpec(dim=64, temporal_dim=16),
    "full": FullSpec(),
    "lst": LSTSpec(),
    "attentive": AttentiveSpec(queries=2, layers=2),
    "gated-recurrence": GatedRecurrenceSpec(layers=2),
    "v-jepa-2-probe": VJEPAProbeSpec(layers=2),
    "text4vis": Text4VisSpec(layers=2),
    "text4vis-frozen": FrozenText4VisSpec(layers=2),
    "atm": ATMSpec(),
    "uniformerv2": UniFormerV2Spec(layers=2),
    "uniformerv2-kinetics": UniFormerV2Spec(layers=2, form="kinetics"),
    "uniformerv2-frozen": FrozenUniFormerV2Spec(layers=2),
    "linear": LinearSpec(),
}
FAMILIES = ("clip", "eva-post-norm", "eva-rotary")
REFUSED = [(method, family) for method in ("aim", "evl") for family in FAMILIES[1:]]
"""Methods that need CLIP's attention."""
CASES = [(method, family) for method in METHODS for family in FAMILIES if (method, family) not in REFUSED]
_FINAL_NORMS = {"ln_post.weight", "ln_post.bias", "norm.weight", "norm.bias"}
NOT_TRAINED = {
    "full": PROJECTIONS,
    "uniformerv2": PROJECTIONS | _FINAL_NORMS,
    "uniformerv2-kinetics": PROJECTIONS | _FINAL_NORMS,
}
"""Parameters of the image tower that a method takes over with it and does not use."""
TASKS = [(*case, "linear") for case in CASES] + [
    (method, family, "text") for method in ("dist", "text4vis", "text4vis-frozen") for family in FAMILIES
]
"""Every case with a linear classifier, and with one made of texts where features are in the texts' space."""


@dataclass
class ToyBatch:
    video_BTCHW: torch.Tensor
    labels_B: torch.Tensor
    indices_B: torch.Tensor
    views_B: torch.Tensor
    neighbours_BTKCHW: torch.Tensor | None = None
    mixture: ClassVar[None] = None

    def to(self, device: Any) -> "ToyBatch":
        found = {name: tensor for name, tensor in vars(self).items() if tensor is not None}
        return replace(self, **{name: tensor.to(device) for name, tensor in found.items()})

    def __len__(self) -> int:
        return len(self.labels_B)


def make_batch(*parts: int, size: int = BATCH) -> ToyBatch:
    generator = torch.Generator().manual_seed(derive_seed("toy", *parts))
    video = torch.randint(0, 256, (size, FRAMES, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, len(CLASSES), (size,), generator=generator)
    around = torch.randint(0, 256, (size, FRAMES, 4, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)
    return ToyBatch(video, labels, torch.arange(size), torch.zeros(size, dtype=torch.int64), around)


class ToyStream:
    """Training steps as a function of (epoch, step) alone."""

    steps_per_epoch = STEPS_PER_EPOCH

    def __init__(self, parts: int = 1) -> None:
        self.parts = parts

    def batches(self, epoch, first_step=0):
        for step in range(first_step, self.steps_per_epoch):
            yield [make_batch(epoch, step, part) for part in range(self.parts)]


@functools.cache
def toy_tower(precision="fp32", family="clip", kept_tokens="own-precision"):
    return new_tower(precision, family, kept_tokens=kept_tokens)


def new_tower(precision="fp32", family="clip", *, device="cpu", **options):
    """The toy tower, not shared: for a method that trains it."""
    if family == "clip":
        return families.clip_tower(precision=precision, device=device, **options)
    if family in families.TIMM_KINDS:
        return families.timm_tower(family, image_size=SIZE, precision=precision, device=device, **options)
    if family in families.LAYOUTS:
        return families.layout_tower(family, precision=precision, device=device, **options)
    if family in clip_towers.CLIP_FAMILIES:
        spec = clip_towers.clip_tower(family, size=SIZE, frames=FRAMES, patch=8, precision=precision, **options)
        return spec.build(device)
    shape = families.eva_shape(family, heads=4, image_size=SIZE)
    return families.eva_tower(family, shape, precision=precision, device=device, **options)


def make_task(classifier="linear", *, dropout=0.2):
    """Recognition, with either of its classifiers."""
    if classifier == "linear":
        return Classification(CLASSES, dropout=dropout)
    generator = torch.Generator().manual_seed(11)
    texts = TextFeatures(
        torch.randn(len(CLASSES), toy_tower().shape.output_dim, generator=generator), torch.tensor(2.0)
    )
    return Classification(CLASSES, dropout=dropout, texts=texts)


def make_student(
    name, method, *, seed=0, family="clip", classifier="linear", tower="fp32", process=None, **optimization
):
    """A student with dropout in its head; `tower` is the precision of its tower, the rest is `optimization`'s."""
    spec = OptimizationSpec.model_validate(
        {
            "batch_size": BATCH,
            "length": {"steps": 7},
            "warmup": {"steps": 1},
            "learning_rate": 5e-3,
            "precision": "fp32",
            **optimization,
        }
    )
    tower = toy_tower(tower, family) if method.packable else new_tower(tower, family)
    task = make_task(classifier)
    with seeded(derive_seed(seed, "initial weights")):
        network = method.build(tower, frames=FRAMES)
        module = StudentModule(network, task.head(network.output_dim))
    reads = method.reads(tower.shape, frames=FRAMES)
    return Student(name, module, task, spec, seed, reads, process or ProcessGroup())


def make_skeleton(method, *, family="clip", classifier="linear", tower="fp32", **options):
    """The same without numbers, for the planner."""
    tower = new_tower(tower, family, device="meta", **options)
    task = make_task(classifier)
    with torch.device("meta"):
        network = method.build(tower, frames=FRAMES)
        module = StudentModule(network, task.head(network.output_dim))
    return MetaModel(tower, module, method.reads(tower.shape, frames=FRAMES), task)


def make_pack(*students, precision="fp32", family="clip", kept_tokens="own-precision"):
    return Pack.of_one_tower(
        functools.partial(features_of_batch, toy_tower(precision, family, kept_tokens)), list(students)
    )


def weights_of(student):
    return {name: tensor.clone() for name, tensor in student.module.state_dict().items()}


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
