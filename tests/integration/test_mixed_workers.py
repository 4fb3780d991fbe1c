"""A whole run with mixed clips: the same from one worker and from two, and it learns from both labels."""

import pytest
import torch
from safetensors.torch import load_file

from tiny import tiny
from workers import run_workers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TRAIN = """
import shutil
from side4video.run import RunContext, run
from tiny import tiny
mix = {"kind": "mixup-or-cutmix", "probability": PROBABILITY}
# With a small epsilon, AdamW makes whole steps of gradients that are nothing but rounding.
changes = {"method": {"kind": "linear"}, "optimization": {"length": {"epochs": 4}, "epsilon": 1e-2}}
spec = tiny(data={"augmentation": {"mix": mix}}, cluster={"workers": world}, **changes)
def keep(report):
    if report.checkpoint is not None:
        shutil.copytree(report.checkpoint, folder / f"trained-{world}", dirs_exist_ok=True)
scratch = folder / f"scratch-{world}-{rank}"
scratch.mkdir(parents=True)
run({"a": spec}, RunContext(process, scratch, keep))
"""


def trained(folder, world, probability="1.0"):
    folder.mkdir(exist_ok=True)
    run_workers(world, folder, TRAIN.replace("PROBABILITY", probability))
    return load_file(folder / f"trained-{world}" / "a" / "weights.safetensors")


def is_near(one, other):
    """But for the order of additions."""
    return all(torch.allclose(one[name], other[name], rtol=1e-4, atol=1e-6) for name in one)


def test_two_workers_train_what_one_trains(tmp_path):
    tiny().data.dataset.prepare()
    one = trained(tmp_path / "mixed", 1)
    assert is_near(one, trained(tmp_path / "mixed", 2))
    assert not is_near(one, trained(tmp_path / "apart", 1, "0.0"))  # the twin that mixes nothing
