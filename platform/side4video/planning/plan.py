"""The plan of one experiment, as numbers and as JSON."""

from dataclasses import asdict, dataclass

from side4video.core.units import as_gib
from side4video.planning.class_count import planned_heads
from side4video.planning.estimates import count_multiply_adds, count_parameters, estimate
from side4video.planning.feature_cache import ClipCounts, plan_feature_cache, read_seconds
from side4video.planning.memory import plan_memory
from side4video.planning.meta_model import build_meta_model
from side4video.planning.rates import DISK_GIGABYTES_PER_SECOND, SUSTAINED_TERAFLOPS
from side4video.spec.experiment import Experiment

MEMORY_PARTS = {
    "tower": "frozen tower",
    "weights": "trained weights",
    "gradients": "gradients",
    "optimizer": "optimizer state",
    "held_for_backward": "held for backward",
    "transient": "transient",
}
"""Parts of the peak (`peak_memory_parts_gib`), in words."""


@dataclass(frozen=True)
class ExperimentPlan:
    """Predicted cost of one experiment.

    Multiply-adds are for one view, including the training head. Memory is for one worker.
    """

    name: str
    classes: int
    trainable_parameters: int
    tower_parameters: int
    multiply_adds: int
    multiply_adds_frozen: int
    multiply_adds_student: int
    views: int
    multiply_adds_all_views: int
    held_for_backward_gib: float
    peak_memory_gib: float
    """Predicts `torch.cuda.max_memory_allocated`."""
    peak_memory_in_pack_gib: dict[str, float]
    """Peaks in a pack: during the frozen pass (`pass`), and after it, while the tokens stay allocated for other
    students (`student`)."""
    peak_memory_parts_gib: dict[str, float]
    """Parts of the peak."""
    peak_memory_phase: str
    reserved_memory_gib: float
    """Memory that CUDA's allocator then holds. The CUDA context (about 0.5 GiB) is not included."""
    estimates: dict[str, float]
    """Estimates that depend on assumed rates."""
    feature_cache: dict[str, object] | None = None
    """Plan of a feature cache (`planning.feature_cache`); None if the number of clips is unknown or no cache is
    possible."""

    def as_json(self) -> dict[str, object]:
        """JSON values."""
        return asdict(self)


def plan_experiment(
    spec: Experiment,
    *,
    classes: int,
    sustained_teraflops: float = SUSTAINED_TERAFLOPS,
    clips: ClipCounts | None = None,
    disk_gigabytes_per_second: float = DISK_GIGABYTES_PER_SECOND,
) -> ExperimentPlan:
    """Plan an experiment, without a GPU, weights or data.

    `classes` is the width of the head; data sets that are not here yet cannot say it. `clips` says how many clips the
    feature cache has, if known. `sustained_teraflops` and `disk_gigabytes_per_second` are what the device and the disk
    keep up, for the estimates of time.
    """
    meta_model = build_meta_model(spec, classes=classes)
    frozen, student = count_multiply_adds(spec, meta_model)
    trainable = count_parameters(meta_model.module)
    tower = sum(parameter.numel() for parameter in meta_model.tower.parameters())
    memory = plan_memory(spec, meta_model)
    views = spec.data.views.total
    is_cached = spec.features.kind == "cached"
    rates = {"sustained_teraflops": sustained_teraflops, "disk_gigabytes_per_second": disk_gigabytes_per_second}
    cache = plan_feature_cache(spec, meta_model, clips, multiply_adds_frozen=frozen, **rates) if clips else None
    estimates = estimate(
        spec,
        0 if is_cached else frozen,
        student,
        trainable,
        sustained_teraflops=sustained_teraflops,
        read_seconds=read_seconds(spec, meta_model, disk_gigabytes_per_second) if is_cached else 0,
    )
    return ExperimentPlan(
        name=spec.name,
        classes=sum(map(len, planned_heads(spec).values())) or classes,
        trainable_parameters=trainable,
        tower_parameters=tower,
        multiply_adds=frozen + student,
        multiply_adds_frozen=frozen,
        multiply_adds_student=student,
        views=views,
        multiply_adds_all_views=(frozen + student) * views,
        held_for_backward_gib=as_gib(memory.held_for_backward),
        peak_memory_gib=as_gib(memory.peak),
        peak_memory_in_pack_gib={"pass": as_gib(memory.peak_of_pass), "student": as_gib(memory.peak_in_pack)},
        peak_memory_parts_gib={part: as_gib(size) for part, size in memory.parts.items()},
        peak_memory_phase=memory.phase,
        reserved_memory_gib=as_gib(memory.reserved),
        estimates=estimates,
        feature_cache=cache.as_json() if cache else None,
    )
