"""Text4Vis stated independently, in float64, clip by clip: nothing of the package is used."""

import torch
from torch import Tensor

import clip_statement as clip


def layer_norm(x: Tensor, state: dict[str, Tensor], name: str, epsilon: float) -> Tensor:
    variance, mean = torch.var_mean(x, dim=-1, unbiased=False, keepdim=True)
    return (x - mean) / (variance + epsilon) ** 0.5 * state[f"{name}.weight"] + state[f"{name}.bias"]


def frame_features(frame_CHW: Tensor, tower: dict[str, Tensor], *, depth: int, heads: int, quick: bool) -> Tensor:
    """CLIP's feature of a frame in the space shared with texts."""
    x = clip.embed(frame_CHW, tower)
    for index in range(depth):
        x = x + clip.attention(x, tower, index, heads)
        x = x + clip.mlp(clip.layer_norm(x, tower, f"transformer.resblocks.{index}.ln_2"), tower, index, quick=quick)
    return clip.layer_norm(x[0], tower, "ln_post") @ tower["proj"]


def temporal_blocks(f_TE: Tensor, state: dict[str, Tensor], *, layers: int, head_width: int, epsilon: float) -> Tensor:
    """f + Blocks(f + positions) of one clip."""
    width = f_TE.shape[-1]
    y = f_TE + state["sequence.positions_TE"][: len(f_TE)]
    for layer in range(layers):
        name = f"sequence.blocks.{layer}"
        normed = layer_norm(y, state, f"{name}.attention_norm", epsilon)
        query, key, value = clip.linear(normed, state, f"{name}.query_key_value").chunk(3, -1)
        mixed = clip.run_attention(query, key, value, max(1, width // head_width))
        y = y + clip.linear(mixed, state, f"{name}.leave_attention")
        normed = layer_norm(y, state, f"{name}.perceptron_norm", epsilon)
        y = y + clip.linear(clip.quick_gelu(clip.linear(normed, state, f"{name}.enter")), state, f"{name}.leave")
    return f_TE + y


def text4vis(
    video_BTCHW: Tensor,
    tower: dict[str, Tensor],
    state: dict[str, Tensor],
    *,
    depth: int,
    heads: int,
    quick: bool,
    layers: int,
    head_width: int = 64,
    epsilon: float = 1e-12,
) -> Tensor:
    """Features [B, E]; `tower` and `state` hold float64 tensors of the tower and of the network by name."""
    features = []
    for clip_TCHW in video_BTCHW:
        frames = [frame_features(frame, tower, depth=depth, heads=heads, quick=quick) for frame in clip_TCHW]
        mixed = temporal_blocks(torch.stack(frames), state, layers=layers, head_width=head_width, epsilon=epsilon)
        features.append(mixed.mean(0))
    return torch.stack(features)


def logits(features_BE: Tensor, texts_CE: Tensor, scale: Tensor) -> Tensor:
    """exp(scale) times cosines."""
    rows = [[f @ w / (f.norm() * w.norm()) for w in texts_CE] for f in features_BE]
    return scale.exp() * torch.stack([torch.stack(row) for row in rows])
