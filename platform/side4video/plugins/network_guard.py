"""Guards the network that a plug-in's method builds: what its forward raises or returns is told in one sentence.

The guard is a class between the network and its own class, because a module around it would change the names of its
weights, which are keys of checkpoints.

Legend: B clips, T frames of a clip, E channels, Q texts, W tokens of a text.
"""

from typing import Any

import torch
from torch import Tensor, nn

from side4video.core.plugin_fault import PluginFault
from side4video.models.method import MethodSpec
from side4video.plugins.guards import blamed_on, fault


def guard_network(method: MethodSpec, network: Any, built_by: str, *, width: int | None) -> nn.Module:
    """The network that `built_by` of a method returned, whose forward is guarded.

    `width` is what its `output_dim` must be; None: it is not known here.

    Raises:
        PluginFault: It is no module, or its `output_dim` is missing or wrong.
    """
    if not isinstance(network, nn.Module):
        returned = "None" if network is None else f"a {type(network).__name__}"
        raise fault(method, f"{built_by} returned {returned}", allowed="a torch.nn.Module")
    is_pair = built_by == "build_pair()"
    found: Any = getattr(network, "output_dim", None)
    allowed = f"{'a whole number' if width is None else width}: the width of the features that forward returns"
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        what = "the network has no output_dim" if found is None else f"the network's output_dim is {found!r}"
        raise fault(method, what, allowed=allowed)
    if width is not None and found != width:
        raise fault(
            method, f"the network's output_dim is {found}, and output_dim() of the method {width}", allowed=allowed
        )
    if is_pair and not callable(getattr(network, "text", None)):
        allowed = (
            "a module that turns tokens [texts, words] into features of words, which an evaluation calls by itself"
        )
        raise fault(method, "the network has no text", allowed=allowed)
    own = type(network)

    class Guarded(own):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            if torch.compiler.is_compiling():  # a graph is traced: its sizes are symbols, and it has been tried before
                return super().forward(*args, **kwargs)
            with blamed_on(method, "forward()"):
                outputs = super().forward(*args, **kwargs)
            problem = (_pair_problem if is_pair else _problem)(self, outputs, args)
            if problem is not None:
                returned, expected = problem
                raise _wrong_result(method, returned, expected)
            return outputs

    Guarded.__name__, Guarded.__qualname__, Guarded.__module__ = own.__name__, own.__qualname__, own.__module__
    network.__class__ = Guarded
    return network


def _wrong_result(method: MethodSpec, returned: str, expected: str) -> PluginFault:
    return fault(method, f"forward() returned {returned}", allowed=expected)


def _problem(network: Any, outputs: Any, args: tuple[Any, ...]) -> tuple[str, str] | None:
    """What a network for recognition returned, and what it must return; None if it is right."""
    shape = [_clips(args), network.output_dim]
    if isinstance(outputs, Tensor) and list(outputs.shape) == shape and _has_precision(network, outputs):
        return None
    return _shown(outputs), f"{shape} (clips, output_dim) in {_precisions(network)}"


def _pair_problem(network: Any, outputs: Any, args: tuple[Any, ...]) -> tuple[str, str] | None:
    """What a network for retrieval returned, and what it must return; None if it is right."""
    texts = list(args[1].shape[:2]) if len(args) > 1 and isinstance(args[1], Tensor) else [None, None]
    width, clips = network.output_dim, _clips(args)
    is_right = isinstance(outputs, tuple | list) and len(outputs) == 2
    is_right = is_right and all(isinstance(each, Tensor) and each.ndim == 3 for each in outputs)
    if is_right:
        frames_BTE, words_QWE = outputs
        is_right = (frames_BTE.shape[0], frames_BTE.shape[2]) == (clips, width)
        is_right = is_right and (texts[0] is None or list(words_QWE.shape) == [*texts, width])
        is_right = is_right and all(each.is_floating_point() for each in outputs)
    if is_right:
        return None
    expected = f"features [{clips}, frames, {width}] of frames and [{texts[0]}, {texts[1]}, {width}] of words"
    return _shown(outputs), expected


def _clips(args: tuple[Any, ...]) -> int:
    """B: how many clips the features are of."""
    return int(args[0].video_BTCHW.shape[0])


def _has_precision(network: nn.Module, outputs: Tensor) -> bool:
    device = outputs.device.type
    if not torch.amp.is_autocast_available(device) or torch.is_autocast_enabled(device):  # plans are made on `meta`
        return outputs.is_floating_point()
    return outputs.dtype in _dtypes(network)


def _dtypes(network: nn.Module) -> set[torch.dtype]:
    """What the head can take outside of autocast: float32, or the precision of the network's own weights."""
    own = {each.dtype for each in network.parameters() if each.is_floating_point()}
    return own | {torch.float32}


def _precisions(network: nn.Module) -> str:
    return " or ".join(sorted(str(each).removeprefix("torch.") for each in _dtypes(network)))


def _shown(outputs: Any) -> str:
    """`[2, 5] in float32`: what forward returned."""
    if isinstance(outputs, Tensor):
        return f"{list(outputs.shape)} in {str(outputs.dtype).removeprefix('torch.')}"
    if isinstance(outputs, tuple | list):
        return f"({', '.join(_shown(each) for each in outputs)})"
    return "None" if outputs is None else f"a {type(outputs).__name__}"
