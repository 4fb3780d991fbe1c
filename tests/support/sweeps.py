"""Small sweeps over the tiny experiment, and what is left of them in the store."""

import json

from safetensors.torch import load_file

from side4video.core.errors import InputError
from side4video.core.progress import SILENT
from side4video.distributed.trainer import RayTrainer
from side4video.runs.sweep import prepare_sweep, run_sweep
from side4video.runs.trainer import LocalTrainer
from side4video.spec.arm import build_sweep
from side4video.spec.load import parse_document
from side4video.spec.sweep import SweepSpec
from side4video.tracking.mlflow.store import MLflowStore
from tiny import DOCUMENT, merged

GRID = {"grid": {"method.layers": [1, 2], "optimization.learning_rate": [1e-3, 1e-4]}}
TABLES = {
    "tables": {
        "e": {
            "arms": [
                {"label": "1 layer", "overrides": {"method.layers": 1}, "paper": {"top1": 0.5}},
                {"label": "2 layers"},
            ]
        },
        "f": {"arms": [{"label": "dim 64"}, {"label": "dim 128", "overrides": {"method.dim": 128}}]},
        "p": {"arms": [{"label": "the same again"}, {"label": "probe", "overrides": {"method": {"kind": "linear"}}}]},
    }
}
"""Six rows, four distinct arms."""


def quiet(message):
    pass


def document(name, changes=None, **sweep):
    """A sweep's document over the tiny experiment."""
    way = {} if {"grid", "tables", "random", "optuna"} & sweep.keys() else TABLES
    # A seed that other tests do not train with: their results would be taken over.
    return {"name": name, "base": merged(DOCUMENT, {"seed": 70, **(changes or {})}), **way, **sweep}


def make_sweep(name, changes=None, **sweep):
    whole = document(name, changes, **sweep)
    return build_sweep(parse_document(SweepSpec, whole, source=name), whole["base"], f"{name}.yaml")


class NotingTrainer(LocalTrainer):
    """Trains in this process, and notes which arms train together; one pack can be made to fail."""

    def __init__(self):
        self.trained = []
        """The labels of each pack's arms."""
        self.failing_pack = 0
        """The number of the pack that fails, from 1."""

    def train_packs(self, sweep_run, packs, completed):
        for pack in packs:
            self.trained.append([arm.title for arm in pack.arms])
            super().train_packs(sweep_run, [pack], completed)

    def train(self, experiments, pack_logger, **options):
        if len(self.trained) == self.failing_pack:
            raise InputError("list.csv:5", "a clip is broken")
        return super().train(experiments, pack_logger, **options)


def run(sweep, *, local=True, rerun=False, progress=SILENT, trainer=None):
    """Run what is missing; the plan and the outcome."""
    here = trainer or (LocalTrainer() if local else RayTrainer("local", sweep.base_experiment.cluster))
    with here as at_work:
        prepared = prepare_sweep(sweep, progress=progress, rerun=rerun, trainer=at_work)
        return prepared, run_sweep(prepared, progress=progress, trainer=at_work)


def weights(run_id, folder):
    """All that an arm's run keeps of its training."""
    checkpoint_folder = MLflowStore().prepare().download(run_id, "checkpoint", folder)
    return load_file(next(checkpoint_folder.glob("*/weights.safetensors")))


def predictions(run_id, folder):
    return MLflowStore().prepare().download(run_id, "predictions.csv", folder).read_text()


def table(result):
    """What the arms ended with: the part of a sweep that must not depend on how it was run."""
    return {
        key: (
            run.tags["state"],
            {name: run.metrics[name] for name in run.metrics if name.startswith(("eval/", "best/"))},
        )
        for key, run in result.sweep_logger.children().items()
    }


def as_yaml(path, whole):
    """Write a document where a command can read it: JSON is YAML."""
    path.write_text(json.dumps(whole))
    return path
