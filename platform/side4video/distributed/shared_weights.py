"""The frozen weights once a node: read by the driver, shipped through the object store, mapped by every worker there.

Workers on one machine see the same pages of memory; on a CPU the tower computes from these very pages.
"""

import logging
import warnings
from typing import Any

import ray
import torch

from side4video.models.towers.load import TowerWeights
from side4video.spec.experiment import Experiment

log = logging.getLogger(__name__)

MOST_OF_STORE = 0.5
"""Share of the smallest node's object store that the weights may take."""


def put_weights(spec: Experiment) -> Any:
    """Read the weights and put them into the object store; None where each worker is to read them for itself.

    That is so with one worker, which would only hold them twice, and where they would fill a node's store.

    Raises:
        InputError: The weights are missing, unreadable, another tower's, or cannot be downloaded.
    """
    if spec.cluster.most_workers < 2:
        return None
    size = sum(parameter.nbytes for parameter in spec.backbone.build("meta").parameters())
    room = MOST_OF_STORE * min(
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
    """The weights out of the object store of this node; None for None.

    Args:
        reference: What `put_weights` gave.
        is_changed: Whether the method changes the tower, and so needs memory of its own.
    """
    if reference is None:
        return None
    packed, fingerprint = ray.get(reference)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # nobody writes
        tensors = {
            name: torch.from_numpy(each).view(dtype).view(shape) for name, (each, dtype, shape) in packed.items()
        }
    return TowerWeights(
        {name: tensor.clone() if is_changed else tensor for name, tensor in tensors.items()}, fingerprint
    )


def _as_bytes(tensor: torch.Tensor) -> Any:
    """The tensor's memory as an array of bytes, which Ray maps without a copy whatever the precision is."""
    return tensor.contiguous().view(-1).view(torch.uint8).numpy()
