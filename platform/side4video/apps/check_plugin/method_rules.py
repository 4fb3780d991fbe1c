"""What a method of a plug-in must keep."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from side4video.apps.check_plugin.check import Rule
from side4video.apps.check_plugin.toy_training import toy_experiment, train
from side4video.engine.process_group import ProcessGroup
from side4video.engine.student import Student
from side4video.models.frozen_features import frozen_features
from side4video.models.method import MethodSpec
from side4video.models.networks.contract import FrozenFeatures
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.planning.plan import plan_experiment
from side4video.run import build_student
from side4video.spec.experiment import Experiment

CLASSES = 10
_TOLERANCE = 1e-4


def method_rules(method: type[MethodSpec], fields: Mapping[str, Any], source: str) -> Iterator[Rule]:
    """The rules, for a toy experiment of each task that the method is defined for."""
    for task in method.tasks:
        spec = toy_experiment(source, fields, task=task)
        yield f"{task}: its document can be written and read again", lambda spec=spec: _is_read_again(spec)
        yield f"{task}: it is planned", lambda spec=spec: _is_planned(spec)
        if task == "recognition":
            yield from _module_rules(spec)
        yield f"{task}: the same seed gives the same weights", lambda spec=spec: _repeats(spec)
        yield f"{task}: a run that was stopped goes on to the same weights", lambda spec=spec: _resumes(spec)
        if method.packable:
            yield f"{task}: it has the same weights in a pack as alone", lambda spec=spec: _packs(spec)


def _module_rules(spec: Experiment) -> Iterator[Rule]:
    tower = spec.backbone.build("cpu")
    student = build_student("plug-in", spec, ProcessGroup(), tower)
    yield "recognition: the scores have the shape [clips, classes]", lambda: _has_scores(spec, tower, student)
    yield "recognition: a clip has the same scores alone as in a batch", lambda: _is_independent(spec, tower, student)
    yield "recognition: each trained weight has a gradient", lambda: _has_gradients(spec, tower, student)
    if spec.method.packable:
        yield "recognition: the tower stays as it is", lambda: _leaves_the_tower(student, tower)


def _is_read_again(spec: Experiment) -> str:
    again = Experiment.model_validate(spec.resolved())
    return "" if again == spec and again.digest() == spec.digest() else "another document was read than was written"


def _is_planned(spec: Experiment) -> str:
    plan = plan_experiment(spec, classes=CLASSES)
    return "" if plan.peak_memory_gib > 0 else "the plan has no memory"


def _has_scores(spec: Experiment, tower: FrozenTower, student: Student) -> str:
    scores_BC = _scores(spec, tower, student, _clips(spec))
    if scores_BC.shape != (3, CLASSES):
        return f"the shape is {list(scores_BC.shape)} for 3 clips and {CLASSES} classes"
    return "" if bool(torch.isfinite(scores_BC).all()) else "some scores are not finite"


def _is_independent(spec: Experiment, tower: FrozenTower, student: Student) -> str:
    clips = _clips(spec)
    together = _scores(spec, tower, student, clips)
    alone = torch.cat([_scores(spec, tower, student, clip[None]) for clip in clips])
    difference = float((together - alone).abs().max())
    return "" if difference <= _TOLERANCE * max(1.0, float(alone.abs().max())) else f"they differ by {difference:.2g}"


def _has_gradients(spec: Experiment, tower: FrozenTower, student: Student) -> str:
    module: nn.Module = copy.deepcopy(student.module)
    with torch.no_grad():  # what begins at zero hides the gradients of what stands before it
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)), alpha=0.02)
    module.train()
    module(_features(spec, tower, _clips(spec))).square().sum().backward()
    without = [name for name, each in module.named_parameters() if each.requires_grad and each.grad is None]
    return f"none has {', '.join(without[:4])} ({len(without)} in all)" if without else ""


def _leaves_the_tower(student: Student, tower: FrozenTower) -> str:
    own = {id(parameter) for parameter in student.module.parameters()}
    if any(id(parameter) in own for parameter in tower.parameters()):
        return "its network holds weights of the tower; set packable = False if it changes them"
    trained = [name for name, parameter in tower.named_parameters() if parameter.requires_grad]
    return f"weights of the tower are trained: {trained[0]}; set packable = False" if trained else ""


def _repeats(spec: Experiment) -> str:
    return "" if train({"a": spec}) == train({"a": spec}) else "two runs of one document ended with other weights"


def _resumes(spec: Experiment) -> str:
    undisturbed, resumed = train({"a": spec}), train({"a": spec}, is_stopped=True)
    return "" if undisturbed == resumed else "the weights differ from those of the undisturbed run"


def _packs(spec: Experiment) -> str:
    other = spec.model_copy(update={"seed": spec.seed + 1, "name": "other"})
    together = train({"a": spec, "b": other})
    return "" if together["a"] == train({"a": spec})["a"] else "another student beside it changes its weights"


def _clips(spec: Experiment) -> Tensor:
    sizes = (3, spec.data.frames, 3, spec.data.size, spec.data.size)
    return torch.randint(0, 256, sizes, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def _features(spec: Experiment, tower: FrozenTower, clips_BTCHW: Tensor) -> FrozenFeatures:
    return frozen_features(tower, clips_BTCHW, spec.reads)


def _scores(spec: Experiment, tower: FrozenTower, student: Student, clips_BTCHW: Tensor) -> Tensor:
    student.module.eval()
    with torch.no_grad():
        return student.module(_features(spec, tower, clips_BTCHW))
