"""Sweeps on Ray: virtual trials, decisions that reach the student, and what is left of it all."""

import psutil
import pytest
from safetensors.torch import save_file

import sweeps
from side4video.distributed.virtual_trial import VirtualTrial
from tiny import tiny

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ASHA = {
    "grid": {"optimization.learning_rate": [1e-3, 3e-4, 1e-4], "method.layers": [1, 2]},
    "scheduler": {"kind": "asha", "reduction": 2},
}
LONG = {"optimization": {"length": {"epochs": 4}}}


def halved(curves):
    """Who stops when, by asynchronous halving over rungs 1, 2, 4, in the order that makes it halve what arrives."""
    stops, rungs = {}, {1: [], 2: [], 4: []}
    for epoch in range(1, 5):
        active_students = sorted(
            (arm for arm in curves if arm not in stops), key=lambda arm: (-curves[arm][epoch - 1], arm)
        )
        half = -(-len(active_students) // 2)
        for arm in active_students[:half][::-1] + active_students[half:]:
            if epoch not in rungs:
                continue
            value, seen = curves[arm][epoch - 1], rungs[epoch]
            middle = sorted(seen)
            place = (len(middle) - 1) / 2
            cutoff = (middle[int(place)] + middle[int(place + 0.5)]) / 2 if middle else None
            seen.append(value)
            if cutoff is not None and value < cutoff:
                stops[arm] = epoch
    return stops


@pytest.fixture(scope="module")
def whole_grid():
    """All curves of the grid, nobody stopped."""
    _, result = sweeps.run(sweeps.make_sweep("whole", LONG, grid=ASHA["grid"]))
    store = result.sweep_logger.store
    return {
        key: [metric.value for metric in store.history(run.run_id, "eval/top1")]
        for key, run in result.sweep_logger.children().items()
    }


@pytest.mark.long
def test_asha_stops_arms_of_a_pack_by_their_own_curves(cluster, whole_grid):
    sweep = sweeps.make_sweep("asha", LONG, **ASHA)
    prepared, result = sweeps.run(sweep, local=False, rerun=True)
    assert [len(pack.arms) for pack in prepared.plan.packs] == [6]
    expected = halved(whole_grid)
    assert 0 < len(expected) < 6
    for key, run in result.sweep_logger.children().items():
        curve = [metric.value for metric in result.sweep_logger.store.history(run.run_id, "eval/top1")]
        assert curve == whole_grid[key][: expected.get(key, 4)]
        # Whom the last rung stops has trained to the end all the same.
        assert run.tags["state"] == ("stopped" if expected.get(key, 4) < 4 else run.tags["state"])
    _, result_again = sweeps.run(sweep, local=False)
    assert {run.tags["state"] for run in result_again.sweep_logger.children().values()} <= {"stopped", "finished"}


@pytest.mark.long
def test_arms_that_outnumber_trials_all_end_and_optuna_has_its_seeds(cluster):
    space = {
        "method": {
            "kind": "choice",
            "values": [
                {"kind": "side4video", "dim": 64, "layers": {"kind": "choice", "values": [1, 2]}},
                {"kind": "linear"},
            ],
        },
        "optimization.learning_rate": {"kind": "log-uniform", "low": 1e-4, "high": 1e-3},
    }
    sweep = sweeps.make_sweep("optuna", optuna={"arms": 3, "space": space}, seeds=2, packing=2)
    _, result = sweeps.run(sweep, local=False)
    assert result.is_complete
    assert len(result.arms) == 6
    assert {run.tags["state"] for run in result.sweep_logger.children().values()} == {"finished"}
    proposed = {run.params["arm/learning_rate"] for run in result.sweep_logger.children().values()}
    assert len(proposed) == 3


def test_a_virtual_trial_needs_no_torch_and_no_core(cluster, monkeypatch, tmp_path):
    """What a trial's process says of itself, on its way through the results.

    The weights have a relative path: it begins in the folder of the command, and Ray's workers run in another.
    """
    seen = []
    save_file(dict(tiny().backbone.read_weights().tensors), str(tmp_path / "tower.safetensors"))
    monkeypatch.chdir(tmp_path)
    weights = {"weights": {"kind": "file", "path": "tower.safetensors"}}
    from side4video.distributed import tune

    class Telling(VirtualTrial):
        def step(self):
            import sys

            held = psutil.Process().memory_full_info().uss / 2**20
            return {**super().step(), "imports_torch": "torch" in sys.modules, "mebibytes": held}

    monkeypatch.setattr(tune, "VirtualTrial", Telling)
    on_trial_result = tune._Decisions.on_trial_result

    def note(self, iteration, trials, trial, result, **info):
        seen.append((result["imports_torch"], result["mebibytes"], dict(trial.placement_group_factory.bundles[0])))
        return on_trial_result(self, iteration, trials, trial, result, **info)

    monkeypatch.setattr(
        tune._Decisions,
        "on_trial_result",
        lambda self, iteration, trials, trial, result, **info: note(self, iteration, trials, trial, result, **info),
    )
    _, result = sweeps.run(sweeps.make_sweep("telling", {"seed": 3, "backbone": weights}), local=False)
    assert result.is_complete
    assert len(seen) >= 4 * 3  # two epochs and an end for each arm
    assert not any(imports for imports, _, _ in seen)
    assert max(held for _, held, _ in seen) < 250
    assert all(set(bundle) == {"node:__internal_head__"} for _, _, bundle in seen)
