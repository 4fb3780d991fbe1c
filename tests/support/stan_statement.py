"""STAN stated independently, in float64, with loops over clips, frames and places.

From the paper's section 3.2 and the released code, which says that the first stage's class token is the mean of the
tower's [CLS] over frames and of its class embedding with its position.
"""

import torch
from torch import Tensor

import clip_statement as clip


def run_tower(clip_TCHW: Tensor, tower: dict[str, Tensor], *, depth: int, heads: int, quick: bool) -> list[Tensor]:
    """Output tokens [T, S, D] of each block."""
    outputs: list[list[Tensor]] = [[] for _ in range(depth)]
    for frame in clip_TCHW:
        x = clip.embed(frame, tower)
        for index in range(depth):
            x = x + clip.attention(x, tower, index, heads)
            normed = clip.layer_norm(x, tower, f"transformer.resblocks.{index}.ln_2")
            x = x + clip.mlp(normed, tower, index, quick=quick)
            outputs[index].append(x)
    return [torch.stack(frames) for frames in outputs]


def attention(x_SD: Tensor, state: dict[str, Tensor], name: str, heads: int) -> Tensor:
    entered = clip.linear(clip.layer_norm(x_SD, state, f"{name}.norm"), state, f"{name}.query_key_value")
    query, key, value = entered.chunk(3, dim=-1)
    return clip.linear(clip.run_attention(query, key, value, heads), state, f"{name}.leave")


def mlp(x: Tensor, state: dict[str, Tensor], name: str, *, quick: bool) -> Tensor:
    hidden = clip.linear(clip.layer_norm(x, state, f"{name}.perceptron_norm"), state, f"{name}.widen")
    return clip.linear(clip.quick_gelu(hidden) if quick else clip.gelu(hidden), state, f"{name}.narrow")


def over_time(patches: list[Tensor], state: dict[str, Tensor], name: str, heads: int) -> list[Tensor]:
    """Patches [P, D] of each frame after the attention of each place over time."""
    moved = [frame.clone() for frame in patches]
    for place in range(len(patches[0])):
        series_TD = torch.stack([frame[place] for frame in patches])
        added_TD = clip.linear(attention(series_TD, state, f"{name}.time", heads), state, f"{name}.leave_time")
        for time, frame in enumerate(moved):
            frame[place] = patches[time][place] + added_TD[time]
    return moved


def stage(
    class_D: Tensor, patches: list[Tensor], state: dict[str, Tensor], name: str, *, heads: int, quick: bool, twin: str
) -> tuple[Tensor, list[Tensor]]:
    if twin != "no time":
        patches = over_time(patches, state, name, heads)
    added = [attention(torch.cat([class_D[None], frame]), state, f"{name}.space", heads) for frame in patches]
    class_D = class_D + sum(each[0] for each in added) / (1 if twin == "sum over frames" else len(added))
    patches = [frame + each[1:] for frame, each in zip(patches, added, strict=True)]
    class_D = class_D + mlp(class_D, state, name, quick=quick)
    return class_D, [frame + mlp(frame, state, name, quick=quick) for frame in patches]


def stan(
    video_BTCHW: Tensor,
    tower: dict[str, Tensor],
    state: dict[str, Tensor],
    *,
    layers: int,
    depth: int,
    heads: int,
    quick: bool,
    twin: str = "",
) -> Tensor:
    """Features [B, T, E]; `tower` and `state` hold float64 copies of the tower's and the network's tensors by name."""
    out, positions = [], tower["positional_embedding"]
    for clip_TCHW in video_BTCHW:
        outputs = run_tower(clip_TCHW, tower, depth=depth, heads=heads, quick=quick)
        for number, tokens in enumerate(outputs[-layers:]):
            mean_D = tokens[:, 0].mean(0)
            if number == 0:
                class_D = mean_D + tower["class_embedding"] + positions[0]
                class_D = class_D if twin == "class token added" else class_D / 2
                times = state["branch.times_TD"]
                patches = [frame[1:] + positions[1:] + times[time] for time, frame in enumerate(tokens)]
            else:
                class_D = class_D + mean_D
                patches = [mine + frame[1:] for mine, frame in zip(patches, tokens, strict=True)]
            name = f"branch.stages.{number}"
            class_D, patches = stage(class_D, patches, state, name, heads=heads, quick=quick, twin=twin)
        last = outputs[-1][:, 0] if twin != "no own token" else 0 * outputs[-1][:, 0]
        out.append(clip.layer_norm(last + class_D, state, "projection.norm") @ state["projection.weight_DE"])
    return torch.stack(out)
