"""A frozen copy of a tower's layer inside a network that is trained."""

import copy

from torch import nn


def frozen_copy(layer: nn.Module, *, is_saved: bool = False) -> nn.Module:
    """The layer in fp32, with buffers in place of parameters: not trained, and not in the network's files.

    A network that is built again takes it from the tower again. With `is_saved` it is in the files, for a copy that
    changes.
    """
    copied = copy.deepcopy(layer).float()
    for part in copied.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, parameter.detach(), persistent=is_saved)
    return copied
