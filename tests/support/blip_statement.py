"""UniAdapter on BLIP stated independently, in float64, frame by frame, text by text and pair by pair.

Vision: pre-norm ViT (eps 1e-6, erf GELU), x + attn, then x + MLP(LN x) + adapter(x), x the same for both; final norm.
Text: BERT (post-norm, eps 1e-12); out = LN(a + FFN a) + adapter(a), a = LN(x + attn).
Pair: a1 as before, a2 = LN(a1 + cross(a1)) over all tokens of all frames with low-rank summands of keys and values;
out = LN(a2 + FFN a2) + adapter_text(a1) + adapter_pair(a2).
`vision`, `words` and `state` hold float64 tensors by name: of the image encoder, the text encoder, and the network.
"""

import math

import torch
from torch import Tensor

State = dict[str, Tensor]
VISION, TEXT = "vision_model", "text_encoder.model"


def linear(x: Tensor, state: State, name: str) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def norm(x: Tensor, state: State, name: str, eps: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def attention(query: Tensor, key: Tensor, value: Tensor, heads: int, added: Tensor | float = 0.0) -> Tensor:
    """[W, D] of queries [W, D], keys and values [S, D]; `added` [S] to every row of scores."""
    width, out = query.shape[1] // heads, []
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        scores = query[:, part] @ key[:, part].T / math.sqrt(width) + added
        out.append(scores.softmax(-1) @ value[:, part])
    return torch.cat(out, -1)


def adapter(x: Tensor, state: State, index: int, path: str, *, parts="trained", scale: float, twin: str = "") -> Tensor:
    name = f"{parts}.adapters.{index}"
    hidden = linear(norm(x, state, f"{name}.norm", 1e-5), state, f"{name}.enter")
    hidden = gelu(hidden) if twin == "gelu" else hidden.clamp(min=0)
    if path != "pair":
        return scale * linear(hidden, state, f"{name}.{path}")
    summed = linear(hidden, state, f"{name}.pair")
    if twin != "pair alone":
        summed = summed + linear(hidden, state, f"{name}.text")
    return scale * (summed if twin == "no pair norm" else norm(summed, state, f"{name}.pair_norm", 1e-5))


def see(frame_CHW: Tensor, vision: State, state: State, *, depth, heads, scale, parts="trained", twin="") -> Tensor:
    """All tokens [P, D] of a frame, after the final norm."""
    weight = vision[f"{VISION}.embeddings.patch_embedding.weight"]
    size, rows = weight.shape[-1], []
    for top in range(0, frame_CHW.shape[1], size):
        for left in range(0, frame_CHW.shape[2], size):
            patch = frame_CHW[:, top : top + size, left : left + size]
            rows.append((weight * patch).sum((1, 2, 3)) + vision[f"{VISION}.embeddings.patch_embedding.bias"])
    x = torch.stack([vision[f"{VISION}.embeddings.class_embedding"][0, 0], *rows])
    x = x + vision[f"{VISION}.embeddings.position_embedding"][0]
    for index in range(depth):
        name = f"{VISION}.encoder.layers.{index}"
        query, key, value = linear(norm(x, vision, f"{name}.layer_norm1", 1e-6), vision, f"{name}.self_attn.qkv").chunk(
            3, -1
        )
        x = x + linear(attention(query, key, value, heads), vision, f"{name}.self_attn.projection")
        hidden = gelu(linear(norm(x, vision, f"{name}.layer_norm2", 1e-6), vision, f"{name}.mlp.fc1"))
        branch = linear(hidden, vision, f"{name}.mlp.fc2")
        entered = x + branch if twin == "in series" else x
        x = x + branch + adapter(entered, state, index, "image", parts=parts, scale=scale, twin=twin)
    return norm(x, vision, f"{VISION}.post_layernorm", 1e-6)


def self_attend(x: Tensor, is_word: Tensor, words: State, index: int, heads: int) -> Tensor:
    name, added = f"{TEXT}.encoder.layer.{index}.attention", torch.where(is_word, 0.0, -10_000.0).double()
    query, key, value = (linear(x, words, f"{name}.self.{each}") for each in ("query", "key", "value"))
    mixed = linear(attention(query, key, value, heads, added), words, f"{name}.output.dense")
    return norm(x + mixed, words, f"{name}.output.LayerNorm", 1e-12)


def feed_forward(x: Tensor, words: State, index: int) -> Tensor:
    name = f"{TEXT}.encoder.layer.{index}"
    branch = linear(gelu(linear(x, words, f"{name}.intermediate.dense")), words, f"{name}.output.dense")
    return norm(x + branch, words, f"{name}.output.LayerNorm", 1e-12)


def embed(tokens_W: Tensor, words: State) -> Tensor:
    name = f"{TEXT}.embeddings"
    places = words[f"{name}.position_embeddings.weight"][: len(tokens_W)]
    return norm(words[f"{name}.word_embeddings.weight"][tokens_W] + places, words, f"{name}.LayerNorm", 1e-12)


def read(tokens_W: Tensor, words: State, state: State, *, depth, heads, scale, parts="trained", twin="") -> Tensor:
    """Outputs [W, D] of a text alone."""
    x, is_word = embed(tokens_W, words), tokens_W != 0
    for index in range(depth):
        attended = self_attend(x, is_word, words, index, heads)
        if twin == "before the norm":
            branch = feed_forward(attended + adapter(attended, state, index, "text", scale=scale), words, index)
            x = branch
            continue
        x = feed_forward(attended, words, index)
        x = x + adapter(attended, state, index, "text", parts=parts, scale=scale, twin=twin)
    return x


def pair(tokens_W: Tensor, seen_SD: Tensor, words: State, state: State, *, depth, heads, scale, twin="") -> Tensor:
    """Both logits of the head for a text and the tokens of a video."""
    tokens_W = tokens_W.clone()
    if twin != "first token":
        tokens_W[0] = 30_523
    x, is_word = embed(tokens_W, words), tokens_W != 0
    added = {
        side: state[f"{side}.scale"] * linear(linear(seen_SD, state, f"{side}.enter"), state, f"{side}.leave")
        for side in ("added_keys", "added_values")
    }
    if twin == "same summand":
        added["added_values"] = added["added_keys"]
    for index in range(depth):
        name = f"{TEXT}.encoder.layer.{index}.crossattention"
        alone = self_attend(x, is_word, words, index, heads)
        key = linear(seen_SD, words, f"{name}.self.key") + added["added_keys"]
        value = linear(seen_SD, words, f"{name}.self.value") + added["added_values"]
        mixed = attention(linear(alone, words, f"{name}.self.query"), key, value, heads)
        together = norm(alone + linear(mixed, words, f"{name}.output.dense"), words, f"{name}.output.LayerNorm", 1e-12)
        x = feed_forward(together, words, index)
        x = x + adapter(alone, state, index, "text", scale=scale, twin=twin)
        x = x + adapter(together, state, index, "pair", scale=scale, twin=twin)
    return linear(x[0], state, "matching_head")


def unit(x: Tensor) -> Tensor:
    return x / x.square().sum().sqrt()


def features(
    video_BTCHW: Tensor, tokens_QW: Tensor, vision: State, words: State, state: State, *, parts="trained", **sizes
) -> tuple[Tensor, Tensor, Tensor]:
    """Unit features [B, E] of videos and [Q, E] of texts, and the tokens [B, S, D] of videos."""
    seen = [[see(frame, vision, state, parts=parts, **sizes) for frame in clip] for clip in video_BTCHW]
    videos = [
        unit(linear(torch.stack([frame[0] for frame in clip]).mean(0), state, f"{parts}.image_projection"))
        for clip in seen
    ]
    texts = [
        unit(linear(read(tokens, words, state, parts=parts, **sizes)[0], state, f"{parts}.text_projection"))
        for tokens in tokens_QW
    ]
    return torch.stack(videos), torch.stack(texts), torch.stack([torch.cat(clip) for clip in seen])


def loss(
    now: tuple[Tensor, Tensor],
    slow: tuple[Tensor, Tensor],
    queue: tuple[Tensor, Tensor],
    *,
    same_BK: Tensor,
    pairs: Tensor,
    share: float,
) -> Tensor:
    """The loss of a batch: `now`, `slow` and `queue` are features of videos and texts; the first B `pairs` are right.

    `same_BK` says which columns are of the same clip.
    """
    total, hard = torch.zeros((), dtype=torch.float64), same_BK.double() / same_BK.double().sum(1, keepdim=True)
    for mine, others in ((0, 1), (1, 0)):
        columns = torch.cat([slow[others], queue[others]])
        soft = share * (slow[mine] @ columns.T / 0.07).softmax(1) + (1 - share) * hard
        total = total - (soft * (now[mine] @ columns.T / 0.07).log_softmax(1)).sum(1).mean() / 2
    right = torch.arange(len(pairs)) < len(now[0])
    return total - pairs.log_softmax(1)[torch.arange(len(pairs)), right.long()].mean()
