"""Small sweeps over the tiny experiment, and what is left of them in the store."""

import json
from contextlib import nullcontext

from safetensors.torch import load_file

from side4video.distributed.environment import RayCluster
from side4video.distributed.sweep import prepare_sweep, run_sweep
from side4video.spec.arms import build_sweep
from side4video.spec.load import parse_document
from side4video.spec.sweep import SweepSpec
from side4video.tracking.store import Store
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


def run(sweep, *, local=True, rerun=False, show=quiet):
    """Run what is missing; the plan and the outcome."""
    with nullcontext() if local else RayCluster("local", sweep.base_experiment.cluster) as cluster:
        prepared = prepare_sweep(sweep, show=show, rerun=rerun, cluster=cluster)
        return prepared, run_sweep(prepared, show=show, cluster=cluster)


def weights(run_id, folder):
    """All that an arm's run keeps of its training."""
    place = Store().prepare().download(run_id, "checkpoint", folder)
    return load_file(next(place.glob("*/weights.safetensors")))


def predictions(run_id, folder):
    return Store().prepare().download(run_id, "predictions.csv", folder).read_text()


def table(outcome):
    """What the arms ended with: the part of a sweep that must not depend on how it was run."""
    return {
        key: (
            run.tags["state"],
            {name: run.metrics[name] for name in run.metrics if name.startswith(("eval/", "best/"))},
        )
        for key, run in outcome.record.children().items()
    }


def as_yaml(path, whole):
    """Write a document where a command can read it: JSON is YAML."""
    path.write_text(json.dumps(whole))
    return path
