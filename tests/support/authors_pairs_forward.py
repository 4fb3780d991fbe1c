"""What further retrieval models of authors compute, in float64 on their own names, from the methods' definitions.

As `authors_forward`: nothing of the package is used, and none of the authors' code. Frames of a clip are all its own.

Legend: B clips, T frames, Q texts, W tokens, E channels of the space shared with texts, K centres.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from authors_forward import (
    State,
    attention,
    clip_block,
    clip_mlp,
    depth,
    embed,
    encode_texts,
    linear,
    mix,
    norm,
    normalised,
    quick_gelu,
)
from authors_forward_more import ends, frames_of, over_frames

BLOCKS = "transformerClip.resblocks."


def clip2video(video: Tensor, state: State, tokens_QW: Tensor) -> Tensor:
    """Half of both similarities, without the scale."""
    frames = frames_of(video, state, "clip.visual.")
    words = encode_texts(tokens_QW, state, "clip.")
    mixed = F.normalize(with_differences(frames, state, BLOCKS), dim=-1).mean(1)
    whole = F.normalize(ends(words, tokens_QW), dim=-1) @ F.normalize(mixed, dim=-1).t()
    half = with_differences(frames[:, ::2], state, "actionClip.resblocks.")
    videos = torch.stack([aligned(each, state) for each in torch.cat([frames, half], 1)])
    last = tokens_QW.argmax(-1)
    texts = torch.stack([aligned(each[1 : int(end) + 1], state) for each, end in zip(words, last, strict=True)])
    return (whole + texts @ videos.t()) / 2


def with_differences(frames: Tensor, state: State, blocks: str) -> Tensor:
    positions = state["frame_position_embeddings.weight"][: frames.shape[1]]
    types = state["type_position_embeddings.weight"]
    between = frames[:, 1:] - frames[:, :-1] + positions[1:]
    between = clip_block(between, state, "frame2t_attention.resblocks.0", eps=1e-12)
    between = 2 * norm(between, state, "trans_layernorm").sigmoid() - 1 + positions[:-1] + types[0]
    x = torch.zeros(len(frames), 2 * frames.shape[1] - 1, frames.shape[2], dtype=frames.dtype)
    x[:, ::2], x[:, 1::2] = frames + positions + types[1], between
    for index in range(depth(state, blocks)):
        x = clip_block(x, state, f"{blocks}{index}", eps=1e-12)
    return x[:, ::2] + frames


def aligned(tokens_NE: Tensor, state: State) -> Tensor:
    shares_NK = (tokens_NE @ state["weight_center"].t()).softmax(-1)
    sums = [
        sum(share[k] * (token - centre) for share, token in zip(shares_NK, tokens_NE, strict=True))
        for k, centre in enumerate(state["emb_center"])
    ]
    return F.normalize(torch.stack([F.normalize(each, dim=0) for each in sums]).mean(0), dim=0)


def ts2_net(video: Tensor, state: State, tokens_QW: Tensor) -> Tensor:
    """Without the noise of the selection."""
    visual, clips = "clip.visual.", video.shape[:2]
    x = embed(normalised(video), state, visual)
    for index in range(depth(state, f"{visual}transformer.resblocks.")):
        block = f"{visual}transformer.resblocks.{index}."
        normed, deeper = norm(x, state, f"{block}ln_1"), f"{block}attn.net.in_proj_weight" in state
        read = shifted(normed.unflatten(0, clips)).flatten(0, 1) if deeper else normed
        x = x + attention(read, read, state, f"{block}attn{'.net' if deeper else ''}")
        x = x + clip_mlp(norm(x, state, f"{block}ln_2"), state, f"{block}mlp")
    tokens = norm(x, state, f"{visual}ln_post") @ state[f"{visual}proj"]
    chosen = torch.stack([selected(frame, state) for frame in tokens]).unflatten(0, clips).flatten(1, 2)
    mixed = over_frames(chosen, state["frame_position_embeddings.weight"], state, BLOCKS)
    frames = F.normalize(mixed[:, ::4], dim=-1)
    texts = F.normalize(ends(encode_texts(tokens_QW, state, "clip."), tokens_QW), dim=-1)
    cosines = torch.einsum("qe,bte->qbt", texts, frames)
    return ((4 * F.normalize(cosines, dim=-1)).softmax(-1) * cosines).sum(-1)


def shifted(tokens_BTSD: Tensor) -> Tensor:
    """Whole tokens of the frames before and behind, at every seventh part of a frame's places."""
    out, step = tokens_BTSD.clone(), max(1, tokens_BTSD.shape[2] // 7)
    for place in range(1, tokens_BTSD.shape[2], step):
        out[:, 1:, place] = tokens_BTSD[:, :-1, place]
    for place in range(4, tokens_BTSD.shape[2], step):
        out[:, :-1, place] = tokens_BTSD[:, 1:, place]
    return out


def selected(tokens_SE: Tensor, state: State) -> Tensor:
    """The class token and the three best patches, in the order of their places."""
    name = "visual_token_selector.score_predictor."
    hidden = F.gelu(norm(tokens_SE, state, f"{name}in_conv.0") @ state[f"{name}in_conv.1.weight"].t())
    both = torch.cat([hidden[1:], hidden[:1].expand(len(hidden) - 1, -1)], -1)
    hidden = F.gelu(both @ state[f"{name}out_conv.0.weight"].t())
    scores = (hidden @ state[f"{name}out_conv.2.weight"].t()).tanh().squeeze(-1)
    places = sorted(scores.argsort(descending=True)[:3].tolist())
    return tokens_SE[[0, *(1 + place for place in places)]]


def stan(video: Tensor, state: State, tokens_QW: Tensor) -> Tensor:
    clips, visual = video.shape[:2], "backbone."
    kernel, first = state[f"{visual}patch_embedding.weight"], state[f"{visual}class_embedding"]
    patches = F.conv2d(normalised(video).flatten(0, 1), kernel, stride=kernel.shape[-1]).flatten(2).transpose(1, 2)
    positions = state[f"{visual}position_embedding.weight"]
    x = torch.cat([first.expand(len(patches), 1, -1), patches], 1) + positions
    x = norm(x, state, f"{visual}pre_layrnorm").unflatten(0, clips)
    blocks, stages = depth(state, f"{visual}layers."), depth(state, f"{visual}STAN_S_layers.")
    head = body = None
    for index in range(blocks):
        x = block_apart(x, state, f"{visual}layers.{index}")
        stage = index - blocks + stages
        if stage < 0:
            continue
        if head is None or body is None:
            head = (x[:, :, 0].mean(1) + first + positions[0]) / 2
            body = x[:, :, 1:] + positions[1:] + state[f"{visual}STAN_time_embed.weight"][: clips[1], None]
        else:
            head, body = head + x[:, :, 0].mean(1), body + x[:, :, 1:]
        head, body = branch(head, body, state, visual, stage)
    assert head is not None
    frames = norm(x[:, :, 0] + head[:, None], state, f"{visual}post_layernorm")
    videos = F.normalize((frames @ state[f"{visual}visual_projection.weight"].t()).mean(1), dim=-1)
    return texts_apart(tokens_QW, state) @ videos.t()


def branch(head_BD: Tensor, body_BTPD: Tensor, state: State, visual: str, stage: int) -> tuple[Tensor, Tensor]:
    time, space = f"{visual}STAN_T_layers.{stage}", f"{visual}STAN_S_layers.{stage}"
    series = norm(body_BTPD.transpose(1, 2), state, f"{time}.layer_norm1")
    moved = linear(attention_apart(series, state, time), state, f"{time}.temporal_fc")
    body = body_BTPD + moved.transpose(1, 2)
    tokens = torch.cat([head_BD[:, None, None].expand(-1, body.shape[1], 1, -1), body], 2)
    out = attention_apart(norm(tokens, state, f"{space}.layer_norm1"), state, space)
    head, body = head_BD + out[:, :, 0].mean(1), body + out[:, :, 1:]
    return head + mlp_apart(head, state, space), body + mlp_apart(body, state, space)


def attention_apart(x: Tensor, state: State, name: str, *, causal: bool = False) -> Tensor:
    q, k, v = (linear(x, state, f"{name}.self_attn.{part}_proj") for part in ("q", "k", "v"))
    return linear(mix(q, k, v, max(1, x.shape[-1] // 64), causal=causal), state, f"{name}.self_attn.out_proj")


def mlp_apart(x: Tensor, state: State, name: str) -> Tensor:
    hidden = linear(norm(x, state, f"{name}.layer_norm2"), state, f"{name}.mlp.fc1")
    return linear(quick_gelu(hidden), state, f"{name}.mlp.fc2")


def block_apart(x: Tensor, state: State, name: str, *, causal: bool = False) -> Tensor:
    x = x + attention_apart(norm(x, state, f"{name}.layer_norm1"), state, name, causal=causal)
    return x + mlp_apart(x, state, name)


def texts_apart(tokens_QW: Tensor, state: State) -> Tensor:
    name = "text_backbone.text_model."
    positions = state[f"{name}embeddings.position_embedding.weight"][: tokens_QW.shape[1]]
    x = state[f"{name}embeddings.token_embedding.weight"][tokens_QW] + positions
    for index in range(depth(state, f"{name}encoder.layers.")):
        x = block_apart(x, state, f"{name}encoder.layers.{index}", causal=True)
    last = ends(norm(x, state, f"{name}final_layer_norm"), tokens_QW)
    return F.normalize(last @ state["text_backbone.text_projection.weight"].t(), dim=-1)


def cap4video(video: Tensor, state: State, tokens_QW: Tensor, sentences_BMW: Tensor) -> Tensor:
    """Similarities of the model of frames, or of that of sentences."""
    flat = sentences_BMW.flatten(0, 1)
    sentences = ends(encode_texts(flat, state, "clip."), flat).unflatten(0, sentences_BMW.shape[:2])
    words = encode_texts(tokens_QW, state, "clip.")
    if "text_weight_fc.0.weight" not in state:
        x = sentences + state["sentence_position_embeddings.weight"][: sentences.shape[1]]
        for index in range(depth(state, "caption_transformer_encoder.layers.")):
            x = post_norm_layer(x, state, f"caption_transformer_encoder.layers.{index}")
        return F.normalize(ends(words, tokens_QW), dim=-1) @ F.normalize(x.mean(1), dim=-1).t()
    frames = described(frames_of(video, state, "clip.visual."), sentences, state)
    frames = over_frames(frames, state["frame_position_embeddings.weight"], state, BLOCKS)
    is_word = torch.arange(tokens_QW.shape[1]) <= tokens_QW.argmax(-1, keepdim=True)
    word_weights = token_scores(words, state, "text_weight_fc").masked_fill(~is_word, float("-inf")).softmax(-1)
    frame_weights = token_scores(frames, state, "video_weight_fc").softmax(-1)
    cosines = torch.einsum("qwe,bte->qbwt", F.normalize(words, dim=-1), F.normalize(frames, dim=-1))
    cosines = cosines * is_word[:, None, :, None]
    by_words = torch.einsum("qbw,qw->qb", cosines.amax(3), word_weights)
    return (by_words + torch.einsum("qbt,bt->qb", cosines.amax(2), frame_weights)) / 2


def token_scores(x: Tensor, state: State, name: str) -> Tensor:
    return linear(F.relu(linear(x, state, f"{name}.0")), state, f"{name}.2").squeeze(-1)


def described(frames_BTE: Tensor, sentences_BME: Tensor, state: State) -> Tensor:
    """The frames' half of the co-attention."""
    block = "co_connetion_transformer_model_block.0."
    query = linear(frames_BTE, state, f"{block}biattention.query1")
    key, value = (linear(sentences_BME, state, f"{block}biattention.{name}2") for name in ("key", "value"))
    mixed = mix(query, key, value, max(1, query.shape[-1] // 64))
    y = norm(frames_BTE + linear(mixed, state, f"{block}biOutput.dense1"), state, f"{block}biOutput.LayerNorm1")
    hidden = linear(F.gelu(linear(y, state, f"{block}v_intermediate.dense")), state, f"{block}v_output.dense")
    return norm(y + hidden, state, f"{block}v_output.LayerNorm")


def post_norm_layer(x: Tensor, state: State, name: str) -> Tensor:
    x = norm(x + attention(x, x, state, f"{name}.self_attn"), state, f"{name}.norm1")
    hidden = linear(F.relu(linear(x, state, f"{name}.linear1")), state, f"{name}.linear2")
    return norm(x + hidden, state, f"{name}.norm2")
