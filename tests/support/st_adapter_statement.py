"""ST-Adapter stated independently, in float64, with loops and einsum: nothing of the package is used.

From the paper's section 3 and the released code: bottleneck without activation, patches only, head on the mean [CLS].
"""

import torch
from torch import Tensor

import clip_statement as clip


def adapter(x_TPD: Tensor, state: dict[str, Tensor], name: str, *, adapts_cls: bool = False) -> Tensor:
    """The tokens of one clip with their patches adapted."""
    weight, bias = state[f"{name}.mix.weight_3D"], state[f"{name}.mix.bias_D"]
    first = 0 if adapts_cls else 1
    narrow = [clip.linear(frame[first:], state, f"{name}.enter") for frame in x_TPD]
    out = []
    for t, frame in enumerate(x_TPD):
        mixed = bias + weight[1] * narrow[t]
        if t > 0:
            mixed = mixed + weight[0] * narrow[t - 1]
        if t + 1 < len(x_TPD):
            mixed = mixed + weight[2] * narrow[t + 1]
        out.append(torch.cat([frame[:first], frame[first:] + clip.linear(mixed, state, f"{name}.leave")]))
    return torch.stack(out)


def st_adapter(
    video_BTCHW: Tensor,
    tower: dict[str, Tensor],
    state: dict[str, Tensor],
    *,
    positions: str,
    depth: int,
    heads: int,
    quick: bool,
    adapts_cls: bool = False,
) -> Tensor:
    """Features [B, D]; `tower` and `state` hold float64 copies of the tower's and the network's tensors by name."""
    features = []
    for frames in video_BTCHW:
        x = torch.stack([clip.embed(frame, tower) for frame in frames])
        for index in range(depth):
            if positions == "both":
                x = adapter(x, state, f"before_attention.{index}", adapts_cls=adapts_cls)
            x = x + torch.stack([clip.attention(frame, tower, index, heads) for frame in x])
            x = adapter(x, state, f"before_perceptron.{index}", adapts_cls=adapts_cls)
            normed = clip.layer_norm(x, tower, f"transformer.resblocks.{index}.ln_2")
            x = x + clip.mlp(normed, tower, index, quick=quick)
        features.append(clip.layer_norm(x[:, 0].mean(0), tower, "ln_post"))
    return torch.stack(features)
