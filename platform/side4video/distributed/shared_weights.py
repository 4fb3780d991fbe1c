"""Frozen weights in Ray's object store: the driver reads them once, and the workers of a node share one copy.

On a CPU the tower computes from the shared memory itself.
"""

import logging
import warnings
from typing import Any

import ray
import torch

from side4video.models.towers.load import TowerWeights
from side4video.spec.experiment import Experiment

log = logging.getLogger(__name__)

MAX_STORE_FRACTION = 0.5
"""Largest fraction of the smallest node's object store for the weights."""


def put_weights(spec: Experiment) -> Any:
    """Put the weights into the object store. None if each worker should read them itself.

    That is the case with a single worker, and if the weights do not fit a node's object store.

    Raises:
        InputError: The weights are missing, damaged, of another tower, or cannot be downloaded.
    """
    if spec.cluster.max_workers < 2:
        return None
    size = sum(parameter.nbytes for parameter in spec.backbone.build("meta").parameters())
    room = MAX_STORE_FRACTION * min(
        (node["Resources"].get("object_store_memory", 0.0) for node in ray.nodes() if node["Alive"]), default=0.0
    )
    if size > room:
        log.warning(
            "the tower's weights (%.1f GiB) are more than half of a node's object store; each worker reads them itself",
            size / 2**30,
        )
        return None
    weights = spec.backbone.read_weights()
    packed = {name: (_as_bytes(tensor), tensor.dtype, tensor.shape) for name, tensor in weights.tensors.items()}
    return ray.put((packed, weights.fingerprint))


def get_weights(reference: Any, *, is_changed: bool) -> TowerWeights | None:
    """The weights from this node's object store; None for None.

    `is_changed` says whether the method changes the tower, and so needs its own copy.
    """
    if reference is None:
        return None
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
