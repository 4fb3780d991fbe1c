"""CLIP-Prompt stated independently, in float64, frame by frame and text by text.

From the paper's section 3 and the released code: a text is begin, `prefix` learnt vectors, its words, `postfix` learnt
vectors, end; a learnt vector is the row of a table that its place has. Frames are the frozen tower's features and a
learnt vector for each place in time, through blocks in CLIP's form.
"""

import torch
from torch import Tensor

import clip_statement as clip
import clip_text_statement as text


def words(
    tokens_QW: Tensor,
    tower: dict[str, Tensor],
    state: dict[str, Tensor],
    *,
    prefix: int,
    postfix: int,
    depth: int,
    heads: int,
    quick: bool,
    twin: str = "",
) -> Tensor:
    """Features [N, E] at begin, words and end of each text, one text after the other."""
    out, prompts = [], state["prompts_LD"]
    for tokens_W in tokens_QW:
        embedded = [tower["token_embedding.weight"][int(token)] for token in tokens_W]
        end = int(tokens_W.argmax())
        behind = prefix + 1 if twin == "rows in order" else prefix + end
        before = [prompts[1 + row] for row in range(prefix)]
        after = [prompts[behind + row] for row in range(postfix)]
        if twin == "end in front":
            sequence = [embedded[0], *before, *embedded[1 : end + 1], *after]
        else:
            sequence = [embedded[0], *before, *embedded[1:end], *after, embedded[end]]
        x = torch.stack([row + tower["positional_embedding"][place] for place, row in enumerate(sequence)])
        for index in range(depth):
            x = x + text.attention(x, tower, index, heads)
            x = x + text.mlp(x, tower, index, quick=quick)
        last = prefix + end if twin == "end in front" else len(sequence) - 1
        places = [0, *range(prefix + 1, prefix + end), last]
        out.append(text.finish(x[places], tower))
    return torch.cat(out)


def frames(
    video_BTCHW: Tensor,
    tower: dict[str, Tensor],
    state: dict[str, Tensor],
    *,
    depth: int,
    heads: int,
    quick: bool,
    layers: int,
    own_heads: int,
    twin: str = "",
) -> Tensor:
    """Features [B, T, E]; `tower` and `state` hold float64 copies of the tower's and the network's tensors by name."""
    out = []
    for clip_TCHW in video_BTCHW:
        rows = []
        for time, frame in enumerate(clip_TCHW):
            x = clip.embed(frame, tower)
            for index in range(depth):
                x = x + clip.attention(x, tower, index, heads)
                normed = clip.layer_norm(x, tower, f"transformer.resblocks.{index}.ln_2")
                x = x + clip.mlp(normed, tower, index, quick=quick)
            position = 0 if twin == "no time" else state["positions_TE"][time]
            rows.append(clip.layer_norm(x[0], tower, "ln_post") @ tower["proj"] + position)
        y = torch.stack(rows)
        for index in range(layers):
            y = block(y, state, f"blocks.{index}", own_heads, twin=twin)
        out.append(torch.stack(rows) + y if twin == "residual" else y)
    return torch.stack(out)


def block(y_TE: Tensor, state: dict[str, Tensor], name: str, heads: int, *, twin: str) -> Tensor:
    """Attention of the frames over each other, and an MLP with QuickGELU, both behind a norm."""
    entered = clip.linear(clip.layer_norm(y_TE, state, f"{name}.attention_norm"), state, f"{name}.query_key_value")
    query, key, value = entered.chunk(3, dim=-1)
    y_TE = y_TE + clip.linear(clip.run_attention(query, key, value, heads), state, f"{name}.leave_attention")
    hidden = clip.linear(clip.layer_norm(y_TE, state, f"{name}.perceptron_norm"), state, f"{name}.enter")
    return y_TE + clip.linear(clip.gelu(hidden) if twin == "gelu" else clip.quick_gelu(hidden), state, f"{name}.leave")
