"""What the authors' models compute, in float64 on their own names and shapes, from the definitions of the methods.

Nothing of the package is used, and none of the authors' code. Dropout and drop path are off.

Legend: B clips, T frames, N = B·T, S tokens of a frame, P patches, D width, d side width.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def double(state: State) -> State:
    return {name: tensor.double() for name, tensor in state.items()}


def normalised(video_BTCHW: Tensor) -> Tensor:
    mean, std = (torch.tensor(each, dtype=torch.float64).view(3, 1, 1) for each in (MEAN, STD))
    return (video_BTCHW.double() / 255 - mean) / std


def quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def linear(x: Tensor, state: State, name: str) -> Tensor:
    return F.linear(x, state[f"{name}.weight"].flatten(1), state[f"{name}.bias"])


def norm(x: Tensor, state: State, name: str, eps: float = 1e-5) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)


def batch_norm(x: Tensor, state: State, name: str) -> Tensor:
    """Of tokens with their channels last."""
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return (x - mean) / (variance + 1e-5).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]


def heads_of(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(-3, -2)


def mix(query: Tensor, key: Tensor, value: Tensor, heads: int, *, causal: bool = False) -> Tensor:
    q, k, v = (heads_of(each, heads) for each in (query, key, value))
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if causal:
        scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), float("-inf"))
    return (scores.softmax(-1) @ v).transpose(-3, -2).flatten(-2)


def attention(query: Tensor, keys: Tensor, state: State, name: str, *, causal: bool = False) -> Tensor:
    """torch's multi-head attention, heads of 64 channels."""
    width = query.shape[-1]
    weight, bias = state[f"{name}.in_proj_weight"], state[f"{name}.in_proj_bias"]
    q = F.linear(query, weight[:width], bias[:width])
    k, v = F.linear(keys, weight[width:], bias[width:]).chunk(2, -1)
    return linear(mix(q, k, v, max(1, width // 64), causal=causal), state, f"{name}.out_proj")


def clip_mlp(x: Tensor, state: State, name: str) -> Tensor:
    return linear(quick_gelu(linear(x, state, f"{name}.c_fc")), state, f"{name}.c_proj")


def clip_block(x: Tensor, state: State, name: str, *, eps: float = 1e-5, causal: bool = False) -> Tensor:
    normed = norm(x, state, f"{name}.ln_1", eps)
    x = x + attention(normed, normed, state, f"{name}.attn", causal=causal)
    return x + clip_mlp(norm(x, state, f"{name}.ln_2", eps), state, f"{name}.mlp")


def depth(state: State, prefix: str) -> int:
    return 1 + max(int(name.removeprefix(prefix).split(".")[0]) for name in state if name.startswith(prefix))


def embed(video_BTCHW: Tensor, state: State, prefix: str, added: Tensor | None = None) -> Tensor:
    """Tokens [N, S, D] before the first block."""
    kernel = state[f"{prefix}conv1.weight"]
    patches = F.conv2d(video_BTCHW.flatten(0, 1), kernel, stride=kernel.shape[-1]).flatten(2).transpose(1, 2)
    first = state[f"{prefix}class_embedding"].expand(len(patches), 1, -1)
    tokens = torch.cat([first, patches], 1) + state[f"{prefix}positional_embedding"]
    return norm(tokens if added is None else tokens + added, state, f"{prefix}ln_pre")


def tower(video_BTCHW: Tensor, state: State, prefix: str) -> list[Tensor]:
    """The output [N, S, D] of each block."""
    tokens, out = embed(video_BTCHW, state, prefix), []
    for index in range(depth(state, f"{prefix}transformer.resblocks.")):
        tokens = clip_block(tokens, state, f"{prefix}transformer.resblocks.{index}")
        out.append(tokens)
    return out


def encode_texts(tokens_QW: Tensor, state: State, prefix: str) -> Tensor:
    """Features [Q, W, E] at every token."""
    x = (
        state[f"{prefix}token_embedding.weight"][tokens_QW]
        + state[f"{prefix}positional_embedding"][: tokens_QW.shape[1]]
    )
    for index in range(depth(state, f"{prefix}transformer.resblocks.")):
        x = clip_block(x, state, f"{prefix}transformer.resblocks.{index}", causal=True)
    return norm(x, state, f"{prefix}ln_final") @ state[f"{prefix}text_projection"]


def convolve(x_BTPd: Tensor, state: State, name: str) -> Tensor:
    """A 3-D convolution over time alone, zero padded, of tokens with their channels last."""
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    groups = x_BTPd.shape[-1] // weight.shape[1]
    padding = (weight.shape[2] // 2, 0, 0)
    image = x_BTPd.permute(0, 3, 1, 2).unsqueeze(-1)
    return F.conv3d(image, weight, bias, padding=padding, groups=groups).squeeze(-1).permute(0, 2, 3, 1)


def side_stream(video_BTCHW: Tensor, state: State, visual: str, names: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """The side tokens [B, T, P, d] after the last norm, and the tower's last tokens [N, S, D]."""
    batch, frames = video_BTCHW.shape[:2]
    enter, mixed, leave, first_norm, second_norm = names
    kernel, inside = state[f"{visual}side_conv1.weight"], f"{visual}transformer."
    stem = F.conv3d(
        video_BTCHW.transpose(1, 2),
        kernel,
        state[f"{visual}side_conv1.bias"],
        stride=(1, *kernel.shape[-2:]),
        padding=(1, 0, 0),
    )
    side = batch_norm(stem.flatten(3).permute(0, 2, 3, 1), state, f"{visual}side_pre_bn3d")
    taps = tower(video_BTCHW, state, visual)
    embedding = state[f"{inside}side_spatial_position_embeddings"]
    for index, tap in enumerate(taps):
        block = f"{inside}side_transformer.{index}."
        read = linear(norm(tap, state, f"{inside}side_lns.{index}"), state, f"{inside}side_linears.{index}")
        read = read.unflatten(0, (batch, frames))
        side = 0.5 * side + 0.5 * read[:, :, 1:]
        branch = batch_norm(side, state, f"{block}{first_norm}")
        for name in (enter, mixed, leave):
            branch = convolve(branch, state, f"{block}{name}")
        side = side + branch
        half, shifted = read.shape[-1] // 2, torch.zeros_like(read[:, :, 0])
        shifted[:, :-1, :half], shifted[:, 1:, half:] = read[:, 1:, 0, :half], read[:, :-1, 0, half:]
        tokens = torch.cat([shifted.unsqueeze(2), side], 2)
        added = embedding if len(embedding) == tokens.shape[2] else F.pad(embedding, (0, 0, 1, 0))
        tokens = norm(tokens + added, state, f"{block}ln_1")
        side = side + attention(tokens, tokens, state, f"{block}attn")[:, :, 1:]
        hidden = F.gelu(linear(batch_norm(side, state, f"{block}{second_norm}"), state, f"{block}mlp.fc1"))
        side = side + linear(hidden, state, f"{block}mlp.fc2")
    return batch_norm(side, state, f"{visual}side_post_bn"), taps[-1]


def side4video(video: Tensor, state: State) -> Tensor:
    names = ("conv.0", "conv.1", "conv.2", "bn_1", "bn_2")
    return linear(side_stream(normalised(video), state, "visual.", names)[0].mean((1, 2)), state, "fc")


def side4video_retrieval(video: Tensor, state: State, tokens_QW: Tensor) -> Tensor:
    """Similarities [Q, B] of token-wise matching."""
    visual = "clip.visual."
    side, last = side_stream(normalised(video), state, visual, ("pw_conv1", "dw_conv1", "pw_conv2", "norm1", "norm2"))
    classes = last[:, 0].unflatten(0, video.shape[:2])
    frames = (
        norm(classes + side.mean(2) @ state[f"{visual}side_proj"], state, f"{visual}ln_post") @ state[f"{visual}proj"]
    )
    words = encode_texts(tokens_QW, state, "clip.")
    is_word = torch.arange(tokens_QW.shape[1]) <= tokens_QW.argmax(-1, keepdim=True)

    def scores(x: Tensor, name: str) -> Tensor:
        return linear(F.relu(linear(x, state, f"{name}.0")), state, f"{name}.2").squeeze(-1)

    word_weights = scores(words, "text_weight_fc").masked_fill(~is_word, float("-inf")).softmax(-1)
    frame_weights = scores(frames, "video_weight_fc").softmax(-1)
    cosines = torch.einsum("qwe,bte->qbwt", F.normalize(words, dim=-1), F.normalize(frames, dim=-1))
    cosines = cosines * is_word[:, None, :, None]
    by_words = torch.einsum("qbw,qw->qb", cosines.amax(3), word_weights)
    return (by_words + torch.einsum("qbt,bt->qb", cosines.amax(2), frame_weights)) / 2


def st_adapter(video: Tensor, state: State) -> Tensor:
    tokens, frames = embed(normalised(video), state, ""), video.shape[1]

    def adapted(tokens: Tensor, name: str) -> Tensor:
        if f"{name}.fc1.weight" not in state:
            return tokens
        hidden = linear(tokens[:, 1:], state, f"{name}.fc1").unflatten(0, (-1, frames))
        added = linear(convolve(hidden, state, f"{name}.conv"), state, f"{name}.fc2").flatten(0, 1)
        return torch.cat([tokens[:, :1], tokens[:, 1:] + added], 1)

    for index in range(depth(state, "transformer.resblocks.")):
        block = f"transformer.resblocks.{index}"
        tokens = adapted(tokens, f"{block}.adapter_pre_attn")
        normed = norm(tokens, state, f"{block}.ln_1")
        tokens = adapted(tokens + attention(normed, normed, state, f"{block}.attn"), f"{block}.adapter_pre_mlp")
        tokens = tokens + clip_mlp(norm(tokens, state, f"{block}.ln_2"), state, f"{block}.mlp")
    return linear(norm(tokens[:, 0].unflatten(0, (-1, frames)).mean(1), state, "ln_post"), state, "fc")


def aim(video: Tensor, state: State) -> Tensor:
    batch, frames = video.shape[:2]
    times = state["backbone.temporal_embedding"].repeat(batch, 1, 1).flatten(0, 1).unsqueeze(1)
    x = embed(normalised(video), state, "backbone.", times)
    for index in range(depth(state, "backbone.transformer.resblocks.")):
        block = f"backbone.transformer.resblocks.{index}."

        def adapter(x: Tensor, name: str, block: str = block) -> Tensor:
            return linear(F.gelu(linear(x, state, f"{block}{name}.D_fc1")), state, f"{block}{name}.D_fc2")

        series = norm(x, state, f"{block}ln_1").unflatten(0, (batch, frames)).transpose(1, 2)
        if f"{block}T_Adapter_in.D_fc1.bias" in state:
            series = series + adapter(series, "T_Adapter_in")
        over_time = adapter(attention(series, series, state, f"{block}attn"), "T_Adapter")
        x = x + over_time.transpose(1, 2).flatten(0, 1)
        normed = norm(x, state, f"{block}ln_1")
        attended = attention(normed, normed, state, f"{block}attn")
        x = x + attended + adapter(attended, "S_Adapter")
        normed = norm(x, state, f"{block}ln_2")
        x = x + clip_mlp(normed, state, f"{block}mlp") + adapter(normed, "MLP_Adapter")
    features = norm(x[:, 0], state, "backbone.ln_post").unflatten(0, (batch, frames)).mean(1)
    return linear(features, state, "cls_head.fc_cls")


def evl(video: Tensor, state: State, clip: State) -> Tensor:
    """`clip` is the frozen tower, which the checkpoint does not have."""
    batch, frames = video.shape[:2]
    inputs = normalised(video)
    before = [embed(inputs, clip, "visual."), *tower(inputs, clip, "visual.")]
    heads = before[0].shape[-1] // 64
    query = state["decoder.cls_token"].expand(batch, 1, -1)
    for index in range(depth(state, "decoder.decoder_layers.")):
        block = f"visual.transformer.resblocks.{index}."
        normed = norm(before[index], clip, f"{block}ln_1")
        entered = F.linear(normed, clip[f"{block}attn.in_proj_weight"], clip[f"{block}attn.in_proj_bias"]).chunk(3, -1)
        q, k = (heads_of(each.unflatten(0, (batch, frames)), heads)[:, :, :, 1:] for each in entered[:2])
        tokens = before[index + 1].unflatten(0, (batch, frames))
        timed = tokens.permute(0, 2, 3, 1).flatten(0, 1)
        kernel = f"decoder.temporal_conv.{index}."
        width = tokens.shape[-1]
        moved = F.conv1d(timed, state[f"{kernel}weight"], state[f"{kernel}bias"], padding=1, groups=width)
        tokens = tokens + moved.unflatten(0, (batch, -1)).permute(0, 3, 1, 2)
        tokens = tokens + state[f"decoder.temporal_pos_embed.{index}"][:, None]
        motion = torch.zeros_like(tokens)
        tables = f"decoder.cross_attention.{index}."
        motion[:, 1:, 1:] += look_up(q[:, 1:], k[:, :-1], state[f"{tables}w1"])
        motion[:, :-1, 1:] += look_up(q[:, :-1], k[:, 1:], state[f"{tables}w2"])
        keys = (tokens + motion).flatten(1, 2)
        layer = f"decoder.decoder_layers.{index}."
        asked = linear(norm(query, state, f"{layer}norm1"), state, f"{layer}attn.q_proj")
        keys = norm(keys, state, f"{layer}norm3")
        key, value = (linear(keys, state, f"{layer}attn.{name}_proj") for name in ("k", "v"))
        query = query + linear(mix(asked, key, value, heads), state, f"{layer}attn.out_proj")
        hidden = quick_gelu(linear(norm(query, state, f"{layer}norm2"), state, f"{layer}mlp.fc1"))
        query = query + linear(hidden, state, f"{layer}mlp.fc2")
    return linear(norm(query[:, 0], state, "proj.0"), state, "proj.2")


def look_up(query: Tensor, key: Tensor, table: Tensor) -> Tensor:
    weights = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(-1).mean(2)
    grid = math.isqrt(query.shape[-2])
    places = torch.stack(torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij"), -1).view(-1, 2)
    offsets = places[:, None] - places + grid - 1
    rows = table[offsets[..., 0] * (2 * grid - 1) + offsets[..., 1]]
    return torch.einsum("btpq,pqd->btpd", weights, rows)


def dist(video: Tensor, state: State, tokens_CW: Tensor) -> Tensor:
    net, inputs = "dist_net.", normalised(video)
    batch, dense = video.shape[:2]
    alpha = state[f"{net}temporal2integration_nets.0.linear_fuse.weight"].shape[2]
    taps = tower(inputs[:, ::alpha], state, "visual.")
    frames, grid = dense // alpha, math.isqrt(taps[0].shape[1] - 1)
    kernel = state[f"{net}temporal_stem.weight"]
    stem = F.conv3d(
        inputs.transpose(1, 2),
        kernel,
        state[f"{net}temporal_stem.bias"],
        stride=(1, *kernel.shape[-2:]),
        padding=(2, 0, 0),
    )
    x = stem.flatten(3).permute(0, 2, 3, 1)
    residual: Tensor | float = 0.0
    for index, tap in enumerate(taps):
        temporal = f"{net}temporal_nets.{index}."
        hidden = quick_gelu(convolve(norm(x, state, f"{temporal}ln"), state, f"{temporal}temporal_net.c_fc1"))
        image = hidden.unflatten(2, (grid, grid)).permute(0, 4, 1, 2, 3)
        spread = F.conv3d(
            image,
            state[f"{temporal}temporal_net.c_fc2.weight"],
            state[f"{temporal}temporal_net.c_fc2.bias"],
            padding=(0, 1, 1),
        )
        x = quick_gelu(x + spread.permute(0, 2, 3, 4, 1).flatten(2, 3))
        middle = linear(tap.unflatten(0, (batch, frames)), state, f"{net}input_linears.{index}") + residual
        joining = f"{net}temporal2integration_nets.{index}."
        motion = F.conv3d(
            x.permute(0, 3, 1, 2).unsqueeze(-1),
            state[f"{joining}linear_fuse.weight"],
            state[f"{joining}linear_fuse.bias"],
            stride=(alpha, 1, 1),
        )
        motion = motion.squeeze(-1).permute(0, 2, 3, 1)
        first = state[f"{joining}cls_token"][0].expand(batch, 1, -1, -1).transpose(1, 2)
        joined = middle + torch.cat([first, motion], 2)
        informed = linear(middle[:, :, 1:], state, f"{net}integration2temporal_nets.{index}.linear_fuse")
        x = x + informed.repeat_interleave(alpha, 1)
        block = f"{net}integration_nets.{index}."
        over_time = convolve(norm(joined, state, f"{block}ln_temporal"), state, f"{block}temporal_ffn.c_fc1")
        over_time = quick_gelu(convolve(over_time, state, f"{block}temporal_ffn.c_fc2"))
        residual = clip_mlp(norm(joined, state, f"{block}ln"), state, f"{block}ffn")
        residual = residual + convolve(over_time, state, f"{block}temporal_ffn.c_proj")
    clip, frame = (state[f"{net}aggregated_{kind}cls_token"][0] for kind in ("", "spatial_"))
    clip, frame = clip.expand(batch, 1, -1), frame.expand(batch * frames, 1, -1)
    tokens = (residual + joined).flatten(0, 1)
    for index in range(depth(state, f"{net}adapooling_nets.")):
        pooling = f"{net}adapooling_nets.{index}."
        frame = pool(frame, tokens, state, pooling, ("spatial", "spatial_cls_token", "spat"))
        seen = frame[:, 0].unflatten(0, (batch, frames)) + state[f"{pooling}positional_embedding"]
        clip = pool(clip, seen, state, pooling, ("temporal", "cls_token", "temp"))
    mean_class = linear(taps[-1][:, 0].unflatten(0, (batch, frames)).mean(1), state, f"{net}proj_spatial_cls_token")
    features = norm(clip[:, 0] + mean_class, state, f"{net}ln_post") @ state[f"{net}proj"]
    words = encode_texts(tokens_CW, state, "")[torch.arange(len(tokens_CW)), tokens_CW.argmax(-1)]
    return state["logit_scale"].exp() * F.normalize(features, dim=-1) @ F.normalize(words, dim=-1).t()


def pool(query: Tensor, tokens: Tensor, state: State, name: str, names: tuple[str, str, str]) -> Tensor:
    kind, mapped, ending = names
    first = f"{name}{kind}_transformer."
    normed, keys = norm(query, state, f"{first}ln_1"), norm(tokens, state, f"{first}ln_1")
    query = query + attention(normed, keys, state, f"{first}attn")
    return query + clip_mlp(norm(query, state, f"{name}ln_out_{ending}_cls_token"), state, f"{name}output_map_{mapped}")


def clip4clip(video: Tensor, state: State, tokens_QW: Tensor) -> Tensor:
    """Similarities [Q, B]: cosines, or the scores of tightTransf."""
    visual = "clip.visual."
    last = tower(normalised(video), state, visual)[-1][:, 0].unflatten(0, video.shape[:2])
    frames = norm(last, state, f"{visual}ln_post") @ state[f"{visual}proj"]
    words = encode_texts(tokens_QW, state, "clip.")[torch.arange(len(tokens_QW)), tokens_QW.argmax(-1)]
    if "similarity_dense.weight" in state:
        rows = []
        for word in words:
            x = torch.cat([word.expand(len(frames), 1, -1), frames], 1)
            x = x + state["cross.embeddings.position_embeddings.weight"][: x.shape[1]]
            for index in range(depth(state, "cross.transformer.resblocks.")):
                x = clip_block(x, state, f"cross.transformer.resblocks.{index}", eps=1e-12)
            first = norm(x, state, "cross.pooler.ln_pool", 1e-12)[:, 0]
            rows.append(linear(quick_gelu(linear(first, state, "cross.pooler.dense")), state, "similarity_dense")[:, 0])
        return torch.stack(rows)
    if "frame_position_embeddings.weight" in state:
        x = frames + state["frame_position_embeddings.weight"][: frames.shape[1]]
        for index in range(depth(state, "transformerClip.resblocks.")):
            x = clip_block(x, state, f"transformerClip.resblocks.{index}", eps=1e-12)
        frames = frames + x
    video_feature = F.normalize(F.normalize(frames, dim=-1).mean(1), dim=-1)
    return F.normalize(words, dim=-1) @ video_feature.t()


def eva_side(video_BTCHW: Tensor, state: State, visual: str, taps: list[Tensor]) -> Tensor:
    """The side tokens [B, T, P, d] on EVA-CLIP's tower, from the outputs [N, S, D] of its blocks 1, 3, ...: norms are
    behind the branches, and there is none before pooling."""
    batch, frames = video_BTCHW.shape[:2]
    kernel, bias = (state[f"{visual}side_conv1.{name}"] for name in ("weight", "bias"))
    stem = F.conv3d(video_BTCHW.transpose(1, 2), kernel, bias, stride=(1, *kernel.shape[-2:]), padding=(1, 0, 0))
    side = batch_norm(stem.flatten(3).permute(0, 2, 3, 1), state, f"{visual}side_pre_bn3d")
    for index, tap in enumerate(taps):
        block = f"{visual}side_blocks.{index}."
        read = norm(linear(tap, state, f"{visual}side_linears.{index}"), state, f"{visual}side_lns.{index}")
        read = read.unflatten(0, (batch, frames))
        side = 0.5 * side + 0.5 * read[:, :, 1:]
        branch = side
        for name in ("conv.0", "conv.1", "conv.2"):
            branch = convolve(branch, state, f"{block}{name}")
        side = side + batch_norm(branch, state, f"{block}bn_1")
        half, shifted = read.shape[-1] // 2, torch.zeros_like(read[:, :, 0])
        shifted[:, :-1, :half], shifted[:, 1:, half:] = read[:, 1:, 0, :half], read[:, :-1, 0, half:]
        keys = torch.cat([shifted.unsqueeze(2), side + state[f"{visual}side_spatial_position_embeddings"]], 2)
        q, k, v = (linear(keys, state, f"{block}attn.{name}_proj") for name in ("q", "k", "v"))
        mixed = linear(mix(q, k, v, q.shape[-1] // 64), state, f"{block}attn.proj")[:, :, 1:]
        side = side + norm(mixed, state, f"{block}ln_1")
        hidden = linear(F.gelu(linear(side, state, f"{block}mlp.0")), state, f"{block}mlp.2")
        side = side + batch_norm(hidden, state, f"{block}bn_2")
    return side
