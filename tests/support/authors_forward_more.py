"""What further models of authors compute, in float64 on their own names and shapes, from the methods' definitions.

As `authors_forward`: nothing of the package is used, and none of the authors' code.

Legend: B clips, T frames, C classes, W tokens, E channels of the space shared with texts.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from authors_forward import (
    State,
    attention,
    batch_norm,
    clip_block,
    clip_mlp,
    convolve,
    depth,
    embed,
    encode_texts,
    linear,
    mix,
    norm,
    normalised,
    tower,
)


def frames_of(video: Tensor, state: State, visual: str) -> Tensor:
    """Projected class tokens [B, T, E]."""
    last = tower(normalised(video), state, visual)[-1][:, 0].unflatten(0, video.shape[:2])
    return norm(last, state, f"{visual}ln_post") @ state[f"{visual}proj"]


def over_frames(frames: Tensor, positions: Tensor, state: State, blocks: str) -> Tensor:
    """f + Blocks(f + positions)."""
    x = frames + positions[: frames.shape[1]]
    for index in range(depth(state, blocks)):
        x = clip_block(x, state, f"{blocks}{index}", eps=1e-12)
    return frames + x


def mixed_frames(video: Tensor, state: State, fusion: str) -> Tensor:
    positions = state[f"{fusion}frame_position_embeddings.weight"]
    return over_frames(frames_of(video, state, "visual."), positions, state, f"{fusion}transformer.resblocks.")


def ends(words_CWE: Tensor, tokens_CW: Tensor) -> Tensor:
    return words_CWE[torch.arange(len(tokens_CW)), tokens_CW.argmax(-1)]


def text4vis(video: Tensor, state: State, tokens_CW: Tensor, clip: State) -> Tensor:
    """`clip` holds the text tower, which the checkpoint does not have."""
    feature = F.normalize(mixed_frames(video, state, "fusion_model.").mean(1), dim=-1)
    texts = F.normalize(ends(encode_texts(tokens_CW, clip, ""), tokens_CW), dim=-1)
    return state["logit_scale"].exp() * feature @ texts.t()


def bike(video: Tensor, state: State, tokens_CW: Tensor) -> Tensor:
    """Without the scale: it is of training alone."""
    frames = F.normalize(mixed_frames(video, state, "fusion_model_state_dict."), dim=-1)
    words = encode_texts(tokens_CW, state, "")
    texts = F.normalize(ends(words, tokens_CW), dim=-1)
    words = F.normalize(words, dim=-1)
    rows = []
    for clip_TE in frames:
        weights = ((words @ clip_TE.t()) / 0.01).softmax(-1).mean(1)
        rows.append(((weights @ clip_TE) * texts).sum(-1))
    return torch.stack(rows)


def uniformerv2(video: Tensor, state: State) -> Tensor:
    front = "backbone.transformer."
    has_local = f"{front}resblocks.0.lmhra1.pos_embed.0.weight" in state
    kernel = state["backbone.conv1.weight"]
    images = ((video.double() / 255 - 0.45) / 0.225).transpose(1, 2)
    stride, padding = ((2, 1) if has_local else (1, 0)), kernel.shape[-1]
    seen = F.conv3d(images, kernel, stride=(stride[0], padding, padding), padding=(stride[1], 0, 0))
    patches = seen.flatten(3).permute(0, 2, 3, 1)
    first = state["backbone.class_embedding"].expand(*patches.shape[:2], 1, -1)
    x = norm(torch.cat([first, patches], 2) + state["backbone.positional_embedding"], state, "backbone.ln_pre")
    batch, frames, heads = *x.shape[:2], x.shape[-1] // 64
    query = state[f"{front}temporal_cls_token"].expand(batch, 1, -1)
    number, blocks = depth(state, f"{front}dec."), depth(state, f"{front}resblocks.")
    for index in range(blocks):
        block = f"{front}resblocks.{index}."
        x = local_mixing(x, state, f"{block}lmhra1.pos_embed")
        normed = norm(x, state, f"{block}ln_1").flatten(0, 1)
        x = x + attention(normed, normed, state, f"{block}attn").unflatten(0, (batch, frames))
        x = local_mixing(x, state, f"{block}lmhra2.pos_embed")
        x = x + clip_mlp(norm(x, state, f"{block}ln_2"), state, f"{block}mlp")
        if index >= blocks - number:
            query = read_by_query(query, x, state, front, index - blocks + number, heads)
    if f"{front}balance" in state:
        share = state[f"{front}balance"].sigmoid()
        query = (1 - share) * query + share * x[:, :, 0].mean(1, keepdim=True)
    return linear(norm(query[:, 0], state, f"{front}proj.0"), state, f"{front}proj.2")


def local_mixing(x_BTSD: Tensor, state: State, name: str) -> Tensor:
    if f"{name}.0.weight" not in state:
        return x_BTSD
    hidden = linear(batch_norm(x_BTSD[:, :, 1:], state, f"{name}.0"), state, f"{name}.1")
    added = linear(convolve(hidden, state, f"{name}.2"), state, f"{name}.3")
    return torch.cat([x_BTSD[:, :, :1], x_BTSD[:, :, 1:] + added], 2)


def read_by_query(query: Tensor, x_BTSD: Tensor, state: State, front: str, number: int, heads: int) -> Tensor:
    grid, width = math.isqrt(x_BTSD.shape[2] - 1), x_BTSD.shape[-1]
    image = x_BTSD[:, :, 1:].unflatten(2, (grid, grid)).permute(0, 4, 1, 2, 3)
    kernel, bias = (state[f"{front}dpe.{number}.{name}"] for name in ("weight", "bias"))
    placed = (image + F.conv3d(image, kernel, bias, padding=1, groups=width)).permute(0, 2, 3, 4, 1).flatten(2, 3)
    block = f"{front}dec.{number}."
    keys = norm(torch.cat([x_BTSD[:, :, :1], placed], 2).flatten(1, 2), state, f"{block}ln_3")
    asked = norm(query, state, f"{block}ln_1")
    weight, bias = (state[f"{block}attn.in_proj_{name}"].chunk(3) for name in ("weight", "bias"))
    q, k, v = (F.linear(each, weight[n], bias[n]) for n, each in enumerate((asked, keys, keys)))
    query = query + linear(mix(q, k, v, heads), state, f"{block}attn.out_proj")
    return query + clip_mlp(norm(query, state, f"{block}ln_2"), state, f"{block}mlp")


def atm(video: Tensor, state: State) -> Tensor:
    x = embed(normalised(video), state, "visual.").unflatten(0, video.shape[:2])
    for index in range(depth(state, "visual.transformer.resblocks.")):
        block = f"visual.transformer.resblocks.{index}."
        if f"{block}control_point_c.difflayer.downsample.0.weight" in state:
            x = torch.cat([x[:, :, :1], arithmetic(x[:, :, 1:], state, f"{block}control_point_c.")], 2)
        x = filtered(x, state[f"{block}control_point1.conv.weight"])
        normed = norm(x, state, f"{block}ln_1").flatten(0, 1)
        x = x + attention(normed, normed, state, f"{block}attn").unflatten(0, video.shape[:2])
        x = filtered(x, state[f"{block}control_point2.conv.weight"])
        x = x + clip_mlp(norm(x, state, f"{block}ln_2"), state, f"{block}mlp")
    frames = norm(x[:, :, 0], state, "visual.ln_post") @ state["visual.proj"]
    return linear(frames.mean(1), state, "fc")


def filtered(x_BTSD: Tensor, kernel: Tensor) -> Tensor:
    """The class tokens after a depthwise filter over time."""
    series = F.conv1d(x_BTSD[:, :, 0].transpose(1, 2), kernel, padding=1, groups=len(kernel)).transpose(1, 2)
    return torch.cat([series.unsqueeze(2), x_BTSD[:, :, 1:]], 2)


def convolved(x: Tensor, state: State, name: str, *, first: int = 0, padding: int = 1, stride: int = 1) -> Tensor:
    """Convolution over images, batch norm, ReLU."""
    kernel = state[f"{name}.{first}.weight"].flatten(2).unflatten(2, (3, 3))
    out = F.conv2d(x, kernel, padding=padding, stride=stride).movedim(1, -1)
    return batch_norm(out, state, f"{name}.{first + 1}").movedim(-1, 1).relu()


def around(x_BTCyx: Tensor) -> Tensor:
    """Two frames before, the frame, two behind: [B, T, 5, C, y, x]."""
    padded = F.pad(x_BTCyx, (0, 0, 0, 0, 0, 0, 2, 2))
    return torch.stack([padded[:, each : each + x_BTCyx.shape[1]] for each in range(5)], 2)


def arithmetic(patches_BTPD: Tensor, state: State, name: str) -> Tensor:
    batch, frames, places = patches_BTPD.shape[:3]
    grid = math.isqrt(places)
    image = patches_BTPD.unflatten(2, (grid, grid)).permute(0, 1, 4, 2, 3).flatten(0, 1)
    entered = convolved(image, state, f"{name}corrlayer.sim.downsample").unflatten(0, (batch, frames))
    unit = entered / (entered.square().sum(2, keepdim=True) + 1e-6).sqrt()
    wide = F.pad(around(unit), (4, 4, 4, 4))
    maps = torch.stack(
        [(unit.unsqueeze(2) * wide[..., u : u + grid, v : v + grid]).sum(3) for u in range(9) for v in range(9)], -1
    )
    hidden = maps.reshape(-1, 1, 9, 9)
    for number, (padding, stride) in enumerate(((1, 1), (1, 2), (1, 2), (0, 1))):
        hidden = convolved(hidden, state, f"{name}corrlayer.uv2c.conv{number}", padding=padding, stride=stride)
    relations = hidden.flatten(1).reshape(batch, frames, 5, grid, grid, -1).movedim(-1, 3)
    image = (image + transferred(relations, state, f"{name}corrlayer.sim2vis")).relu()
    entered = convolved(image, state, f"{name}difflayer.downsample").unflatten(0, (batch, frames))
    relations = around(entered) - entered.unsqueeze(2)
    image = (image + transferred(relations, state, f"{name}difflayer.diff2vis")).relu()
    return image.unflatten(0, (batch, frames)).flatten(3).transpose(2, 3)


def transferred(relations_BTLCyx: Tensor, state: State, name: str) -> Tensor:
    """[N, D, y, x]."""
    own = convolved(convolved(relations_BTLCyx.flatten(0, 2), state, f"{name}.conv1"), state, f"{name}.conv2")
    joined = own.reshape(-1, 5 * own.shape[1], *own.shape[2:])
    return F.conv2d(
        convolved(joined, state, f"{name}.conv3_fuse", first=1),
        state[f"{name}.upsample.0.weight"].flatten(2)[..., None],
    )
