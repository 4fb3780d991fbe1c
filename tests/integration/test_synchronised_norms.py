"""Two workers with half of a batch each, their batch norms synchronised, are one worker with all of it."""

import pytest
import torch

from workers import run_workers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MODES = ("none", "selective", "block")
TRAINED_TOWERS = ("uniformerv2", "atm")
WORK = """
import toys
from oracle import perturb
from side4video.engine.pack import MockBatch
from side4video.models.layers.norm import synchronize_norms
from side4video.models.methods.atm import ATMSpec
from side4video.models.methods.side4video import Side4VideoSpec
from side4video.models.methods.uniformerv2 import UniFormerV2Spec

whole, size = toys.make_batch(0, size=8), 8 // world
mine = slice(rank * size, (rank + 1) * size)
methods = {
    f"{preset} {recompute}": Side4VideoSpec(layers=2, dim=64, preset=preset, recompute=recompute)
    for preset in ("paper", "authors-eva")
    for recompute in ("none", "selective", "block")
}
methods["uniformerv2"] = UniFormerV2Spec(layers=2, drop_path=0.0, query_drop_path=0.0, dropout=0.0)
methods["atm"] = ATMSpec()
answers = {}
for name, method in methods.items():
    for synchronised in (True, False):
        student = toys.make_student("a", method, process=process)
        with torch.no_grad():
            perturb(student.module, seed=3)
        student.module.head[0].p = 0.0
        if synchronised and world > 1:
            synchronize_norms(student.module)
        features = toys.make_pack(student).features_for([student], MockBatch(whole.video_BTCHW[mine]))
        outputs = []
        student.module.register_forward_hook(lambda module, inputs, output: outputs.append(output.detach()))
        student.accumulate(features, whole.labels_B[mine], clips=8, synchronize=True, draw=0)
        answers[f"{name} {synchronised}"] = {
            "outputs": outputs[0],
            "gradients": {
                name: parameter.grad for name, parameter in student.module.named_parameters() if parameter.requires_grad
            },
            "statistics": {name: buffer.float() for name, buffer in student.module.named_buffers()},
        }
torch.save(answers, folder / f"answers-{world}-{rank}.pt")
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What one worker computes of the whole batch, and what two compute of its halves."""
    folder = tmp_path_factory.mktemp("norms")
    found = {}
    for world in (1, 2):
        run_workers(world, folder, WORK)
        found[world] = [torch.load(folder / f"answers-{world}-{rank}.pt") for rank in range(world)]
    return found


def distances(answers, key, expected_key):
    """The largest difference of outputs, gradients and statistics, over the largest value of the tensor.

    A bias in front of a batch norm has no gradient but rounding: it is measured against the others'.
    """
    (one,), two = answers[1], answers[2]
    one, two = one[expected_key], [answer[key] for answer in two]
    joined = torch.cat([answer["outputs"] for answer in two])
    found = {"outputs": float((joined - one["outputs"]).abs().max() / one["outputs"].abs().max())}
    for kind in ("gradients", "statistics"):
        largest = max(float(tensor.abs().max()) for tensor in one[kind].values())
        found[kind] = max(
            float((answer[kind][name] - tensor).abs().max()) / max(float(tensor.abs().max()), 0.1 * largest)
            for answer in two
            for name, tensor in one[kind].items()
        )
    return found


@pytest.mark.parametrize("recompute", MODES)
@pytest.mark.parametrize("preset", ["paper", "authors-eva"])
def test_two_workers_compute_what_one_computes(answers, preset, recompute):
    found = distances(answers, f"{preset} {recompute} True", f"{preset} {recompute} True")
    assert max(found.values()) < 1e-5, found


@pytest.mark.parametrize("method", TRAINED_TOWERS)
def test_so_they_do_inside_a_tower_that_is_trained(answers, method):
    found = distances(answers, f"{method} True", f"{method} True")
    assert max(found.values()) < 1e-4, found
    assert min(distances(answers, f"{method} False", f"{method} True").values()) > 1e-3


@pytest.mark.parametrize("recompute", MODES)
def test_twin_without_synchronisation(answers, recompute):
    found = distances(answers, f"paper {recompute} False", f"paper {recompute} True")
    assert min(found.values()) > 1e-3, found


def test_both_workers_end_with_the_same_gradients_and_statistics(answers):
    one, two = (answer["paper block True"] for answer in answers[2])
    for kind in ("gradients", "statistics"):
        assert all(torch.equal(tensor, two[kind][name]) for name, tensor in one[kind].items())
