"""A step in parts is the step: what it reports is of all clips, and each part has random numbers of its own.

The network and the task are as simple as the engine allows, so that every number can be said in advance.
"""

from dataclasses import dataclass, field

import pytest
import torch
from torch import nn

import toys
from side4video.core.metric import MetricSpec
from side4video.engine.pack import Pack
from side4video.engine.process_group import ProcessGroup
from side4video.engine.step import Plan, dry_run, train_step
from side4video.engine.step_timer import StepTimer
from side4video.engine.student import Student
from side4video.spec.optimization import OptimizationSpec
from side4video.tasks.recognition.metrics import METRICS

CPU = torch.device("cpu")


@dataclass
class Values:
    """A batch, and the features of it: one number a clip."""

    values_B: torch.Tensor

    def to(self, device):
        return self

    def __len__(self):
        return len(self.values_B)

    def release(self):
        pass


def part(*values):
    return Values(torch.tensor(values, dtype=torch.float32))


@dataclass
class Sum:
    """A task whose loss is the sum of the outputs."""

    main_metric: MetricSpec = METRICS[0]

    def targets(self, batch):
        return None

    def loss(self, outputs, targets):
        return outputs.sum()


class Scale(nn.Module):
    """Outputs are a weight, one at the beginning, times the values; notes what it draws."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.drawn = []

    def forward(self, features, targets=None):
        self.drawn.append(float(torch.rand(())))
        return self.weight * features.values_B


@dataclass
class Bench:
    """One student and its steps."""

    seed: int = 0
    options: dict = field(default_factory=dict)

    def __post_init__(self):
        spec = OptimizationSpec.model_validate(
            {"length": {"steps": 100}, "warmup": {"steps": 0}, "precision": "fp32", "weight_decay": 0, **self.options}
        )
        self.module = Scale()
        self.student = Student("a", self.module, Sum(), spec, self.seed, frozenset(), ProcessGroup())
        self.pack = Pack.of_one_tower(lambda batch, reads: batch, [self.student])

    def step(self, *parts, step=0, shares=None):
        return train_step(self.pack, parts, step=step, plan=Plan(100, 10, shares), timer=StepTimer(CPU))


PARTS = {
    "whole": [part(1, 2, 3, 6)],
    "halves": [part(1, 2), part(3, 6)],
    "uneven": [part(1, 2, 3), part(6)],
    "clip by clip": [part(1), part(2), part(3), part(6)],
}


@pytest.mark.parametrize("parts", PARTS)
def test_the_loss_of_a_step_is_the_mean_over_its_clips(parts):
    result = Bench().step(*PARTS[parts])
    assert float(result.losses["a"]) == pytest.approx(3.0)
    assert result.clips == 4


@pytest.mark.parametrize("parts", PARTS)
def test_the_gradient_of_a_step_is_that_of_the_mean(parts):
    assert float(Bench().step(*PARTS[parts]).gradient_norms["a"]) == pytest.approx(3.0)


def test_a_worker_of_several_reports_the_mean_over_its_own_clips():
    result = Bench().step(*PARTS["uneven"], shares=2.5)
    assert float(result.losses["a"]) == pytest.approx(3.0)
    assert (result.clips, result.share) == (10, 0.4)


@pytest.mark.parametrize("options", [{}, {"clipping": {"kind": "norm", "value": 0.5}}], ids=["plain", "clipped"])
def test_parts_are_one_update(options):
    """Whole or in parts, the weight ends where it does; and nothing of a step is left for the next one."""
    ends = []
    for parts in PARTS.values():
        bench = Bench(options=options)
        for step in range(3):
            bench.step(*parts, step=step)
        ends.append(float(bench.module.weight.detach()))
        assert bench.module.weight.grad is None
    assert ends == pytest.approx([ends[0]] * len(ends))
    assert ends[0] < 1


def drawn(steps, parts, **options):
    bench = Bench(**options)
    for step in steps:
        bench.step(*PARTS[parts], step=step)
    return bench.module.drawn


@pytest.mark.parametrize("parts", PARTS)
def test_no_part_of_any_step_draws_what_another_drew(parts):
    found = drawn(range(12), parts)
    assert len(found) == 12 * len(PARTS[parts])
    assert len(set(found)) == len(found)


def test_what_a_part_draws_depends_on_the_step_and_the_seed_alone():
    whole = drawn(range(6), "halves")
    assert drawn(range(4, 6), "halves") == whole[-4:]
    assert not set(drawn(range(6), "halves", seed=1)) & set(whole)
    before = torch.get_rng_state()
    drawn(range(2), "halves")
    assert torch.equal(torch.get_rng_state(), before)


def dry_run_of(batch_size, accumulation):
    options = {"batch_size": batch_size, "accumulation": accumulation}
    student = toys.make_student("a", toys.METHODS["full"], **options)
    dry_run(toys.make_pack(student), toys.make_batch(0).video_BTCHW)
    gradients = sum(each.nbytes for each in student.module.parameters() if each.requires_grad)
    return student.dry_run_bytes, gradients


def test_a_second_part_takes_beside_the_first_its_gradients_and_nothing_else():
    """What the first part held has gone before the second begins."""
    whole, gradients = dry_run_of(4, 1)
    parts, _ = dry_run_of(8, 2)
    assert 0 < parts - whole <= gradients
