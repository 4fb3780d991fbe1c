"""AIM stated independently, in float64, with loops and einsum: nothing of the package is used.

From the paper's section 3 (figure 2) and the released code, which says where adapters have a skip.
"""

import torch
from torch import Tensor

import clip_statement as clip


def adapter(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    return clip.linear(clip.gelu(clip.linear(x, state, f"{name}.enter")), state, f"{name}.leave")


def over_time(x_TPD: Tensor, tower: dict[str, Tensor], state: dict[str, Tensor], index: int, heads: int) -> Tensor:
    """What the attention over time of each place adds to the tokens of one clip."""
    block = f"transformer.resblocks.{index}"
    out = torch.zeros_like(x_TPD)
    for place in range(x_TPD.shape[1]):
        y_TD = clip.layer_norm(x_TPD[:, place], tower, f"{block}.ln_1")
        if f"blocks.{index}.temporal_in.enter.weight" in state:
            y_TD = y_TD + adapter(y_TD, state, f"blocks.{index}.temporal_in")
        attended = clip.self_attention(y_TD, tower, f"{block}.attn", heads)
        out[:, place] = adapter(attended, state, f"blocks.{index}.temporal_out")
    return out


def aim(
    video_BTCHW: Tensor,
    tower: dict[str, Tensor],
    state: dict[str, Tensor],
    *,
    depth: int,
    heads: int,
    quick: bool,
    scale: float,
    joint_skip: bool = False,
) -> Tensor:
    """Features [B, D]; `tower` and `state` hold float64 copies of the tower's and the network's tensors by name."""
    features = []
    for frames in video_BTCHW:
        positions = state["positions_TD"]
        x = torch.stack([clip.embed(frame, tower, positions[t]) for t, frame in enumerate(frames)])
        for index in range(depth):
            x = x + over_time(x, tower, state, index, heads)
            z = torch.stack([clip.attention(frame, tower, index, heads) for frame in x])
            x = x + z + adapter(z, state, f"blocks.{index}.spatial")
            n = clip.layer_norm(x, tower, f"transformer.resblocks.{index}.ln_2")
            joint = adapter(n, state, f"blocks.{index}.joint") + (n if joint_skip else 0)
            x = x + clip.mlp(n, tower, index, quick=quick) + scale * joint
        features.append(clip.layer_norm(x[:, 0], state, "final_norm").mean(0))
    return torch.stack(features)
