"""Frozen weights in Ray's object store: the driver reads them once, and the workers of a node share one copy.

On a CPU the tower computes from the shared memory itself.
"""

import logging
import warnings
from collections.abc import Iterable
from typing import Any

import ray
import torch

from side4video.models.towers.load import TowerWeights
from side4video.spec.experiment import Experiment

log = logging.getLogger(__name__)

MAX_STORE_FRACTION = 0.5
"""Largest fraction of the smallest node's object store for the weights."""


def put_weights(experiments: Iterable[Experiment]) -> dict[str, Any]:
    """Put the weights of all towers into the object store: references by `Experiment.backbone_key`.

    Without those that each worker should read itself: all, with a single worker, or if they do not fit a node's object
    store.

    Raises:
        InputError: Weights are missing, damaged, of another tower, or cannot be downloaded.
    """
    towers = {spec.backbone_key: spec for spec in experiments}
    if next(iter(towers.values())).cluster.max_workers < 2:
        return {}
    size = sum(parameter.nbytes for spec in towers.values() for parameter in spec.backbone.build("meta").parameters())
    room = MAX_STORE_FRACTION * min(
        (node["Resources"].get("object_store_memory", 0.0) for node in ray.nodes() if node["Alive"]), default=0.0
    )
    if size > room:
        log.warning(
            "the tower's weights (%.1f GiB) are more than half of a node's object store; each worker reads them itself",
            size / 2**30,
        )
        return {}
    return {key: _put(spec) for key, spec in towers.items()}


def _put(spec: Experiment) -> Any:
    weights = spec.backbone.read_weights()
    packed = {name: (_as_bytes(tensor), tensor.dtype, tensor.shape) for name, tensor in weights.tensors.items()}
    return ray.put((packed, weights.fingerprint))


def get_weights(reference: Any, *, is_changed: bool) -> TowerWeights:
    """The weights of a tower from this node's object store.

    `is_changed` says whether the method changes the tower, and so needs its own copy.
    """
    packed, fingerprint = ray.get(reference)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # frozen: no write happens
        tensors = {
            name: torch.from_numpy(each).view(dtype).view(shape) for name, (each, dtype, shape) in packed.items()
        }
    return TowerWeights(
        {name: tensor.clone() if is_changed else tensor for name, tensor in tensors.items()}, fingerprint
    )


def _as_bytes(tensor: torch.Tensor) -> Any:
    """The tensor as a byte array, which Ray maps without a copy for any dtype."""
    return tensor.contiguous().view(-1).view(torch.uint8).numpy()
