"""Further checkpoints as their authors write them: names and shapes, listed from the descriptions of the formats."""

from typing import Any

import torch
from torch import Tensor

from authors_files import (
    CLASSES,
    DEPTH,
    PATCH,
    PATCHES,
    SHARED,
    TEXT,
    VOCABULARY,
    WIDTH,
    WORDS,
    Shapes,
    attention,
    batch_norm,
    blocks,
    layer,
    norm,
    texts,
    to_theirs,
    tower,
)


def frame_blocks(front: str, number: int = 2) -> Shapes:
    """Blocks over the frames of a clip, and their positions."""
    return {f"{front}frame_position_embeddings.weight": (WORDS, SHARED)} | blocks(
        f"{front}transformer.resblocks", SHARED, number
    )


def text4vis() -> Shapes:
    return tower("visual.") | frame_blocks("fusion_model.") | {"logit_scale": ()}


def bike() -> Shapes:
    return tower("visual.") | texts("") | frame_blocks("fusion_model_state_dict.")


def uniformerv2(form: str = "something-something") -> Shapes:
    has_local, front, inner = form == "something-something", "backbone.", int(WIDTH / 1.5)
    shapes = tower(front, without=("ln_post", "proj", "conv1"))
    shapes |= {f"{front}conv1.weight": (WIDTH, 3, 3 if has_local else 1, PATCH, PATCH)}
    front += "transformer."
    shapes |= {f"{front}temporal_cls_token": (1, 1, WIDTH)} | norm(f"{front}proj.0", WIDTH)
    shapes |= layer(f"{front}proj.2", CLASSES, WIDTH)
    if form != "frozen":
        shapes[f"{front}balance"] = (WIDTH,)
    for index in range(DEPTH if has_local else 1):
        shapes |= layer(f"{front}dpe.{index}", WIDTH, 1, 3, 3, 3)
        block = f"{front}dec.{index}."
        shapes |= attention(f"{block}attn", WIDTH)
        shapes |= layer(f"{block}mlp.c_fc", 4 * WIDTH, WIDTH) | layer(f"{block}mlp.c_proj", WIDTH, 4 * WIDTH)
        for name in ("ln_1", "ln_2", "ln_3"):
            shapes |= norm(f"{block}{name}", WIDTH)
    for index in range(DEPTH if has_local else 0):
        for name in ("lmhra1", "lmhra2"):
            mixing = f"{front}resblocks.{index}.{name}.pos_embed."
            shapes |= batch_norm(f"{mixing}0", WIDTH) | layer(f"{mixing}1", inner, WIDTH, 1, 1, 1)
            shapes |= layer(f"{mixing}2", inner, 1, 3, 1, 1) | layer(f"{mixing}3", WIDTH, inner, 1, 1, 1)
    return shapes


def _convolution(name: str, outputs: int, *inputs: int, first: int = 0) -> Shapes:
    return {f"{name}.{first}.weight": (outputs, *inputs)} | batch_norm(f"{name}.{first + 1}", outputs)


def _transfer(name: str) -> Shapes:
    shapes = _convolution(f"{name}.conv1", 64, 64, 1, 3, 3) | _convolution(f"{name}.conv2", 64, 64, 1, 3, 3)
    shapes |= _convolution(f"{name}.conv3_fuse", 64, 320, 1, 3, 3, first=1)
    return shapes | {f"{name}.upsample.0.weight": (WIDTH, 64, 1, 1, 1)}


def atm() -> Shapes:
    shapes, blocks_of = tower("visual.") | layer("fc", CLASSES, SHARED), "visual.transformer.resblocks."
    for index in range(DEPTH):
        shapes |= {f"{blocks_of}{index}.control_point{number}.conv.weight": (WIDTH, 1, 3) for number in (1, 2)}
    module = f"{blocks_of}1.control_point_c."
    for number, (inputs, outputs) in enumerate(((1, 4), (4, 16), (16, 64), (64, 64))):
        shapes |= _convolution(f"{module}corrlayer.uv2c.conv{number}", outputs, inputs, 1, 3, 3)
    shapes |= _convolution(f"{module}corrlayer.sim.downsample", 64, WIDTH, 3, 3)
    shapes |= _convolution(f"{module}difflayer.downsample", 64, WIDTH, 3, 3)
    return shapes | _transfer(f"{module}corrlayer.sim2vis") | _transfer(f"{module}difflayer.diff2vis")


def clip2video() -> Shapes:
    shapes = tower("clip.visual.") | texts("clip.") | blocks("transformerClip.resblocks", SHARED, 2)
    shapes |= blocks("frame2t_attention.resblocks", SHARED, 1) | blocks("actionClip.resblocks", SHARED, 1)
    shapes |= {"frame_position_embeddings.weight": (WORDS, SHARED), "type_position_embeddings.weight": (2, SHARED)}
    shapes |= {"weight_center": (5, SHARED), "emb_center": (5, SHARED)}
    return shapes | norm("trans_layernorm", SHARED)


def _predictor(name: str, *, has_bias: bool) -> Shapes:
    narrow = SHARED // 2
    shapes = norm(f"{name}.in_conv.0", SHARED) | {f"{name}.in_conv.1.weight": (narrow, SHARED)}
    shapes |= {f"{name}.in_conv.1.bias": (narrow,)} if has_bias else {}
    return shapes | {f"{name}.out_conv.0.weight": (narrow, SHARED), f"{name}.out_conv.2.weight": (1, narrow)}


def ts2_net() -> Shapes:
    shifted = f"clip.visual.transformer.resblocks.{DEPTH - 1}.attn."
    shapes = {
        name.replace(".attn.", ".attn.net.") if name.startswith(shifted) else name: size
        for name, size in tower("clip.visual.").items()
    }
    shapes |= texts("clip.") | blocks("transformerClip.resblocks", SHARED, 2)
    shapes |= {"frame_position_embeddings.weight": (WORDS, SHARED)}
    shapes |= {"visual_prompt_encoder.conv1.weight": (WIDTH, 3, PATCH, PATCH)}
    shapes |= {"visual_prompt_encoder.positional_embedding": (4, WIDTH)}
    shapes |= norm("visual_prompt_encoder.layer_norm", WIDTH)
    shapes |= _predictor("text_token_selector.score_predictor", has_bias=True)
    return shapes | _predictor("visual_token_selector.score_predictor", has_bias=False)


def _apart(name: str, width: int) -> Shapes:
    """A block of transformers: queries, keys and values apart."""
    shapes = norm(f"{name}.layer_norm1", width) | norm(f"{name}.layer_norm2", width)
    shapes |= layer(f"{name}.mlp.fc1", 4 * width, width) | layer(f"{name}.mlp.fc2", width, 4 * width)
    return shapes | _attention_apart(name, width)


def _attention_apart(name: str, width: int) -> Shapes:
    parts = (layer(f"{name}.self_attn.{part}_proj", width, width) for part in ("q", "k", "v", "out"))
    return {key: size for part in parts for key, size in part.items()}


def stan() -> Shapes:
    visual, text = "backbone.", "text_backbone.text_model."
    shapes: Shapes = {f"{visual}class_embedding": (WIDTH,), f"{visual}patch_embedding.weight": (WIDTH, 3, PATCH, PATCH)}
    shapes |= {f"{visual}position_embedding.weight": (PATCHES + 1, WIDTH)}
    shapes |= {f"{visual}visual_projection.weight": (SHARED, WIDTH), f"{visual}STAN_time_embed.weight": (64, WIDTH)}
    shapes |= norm(f"{visual}pre_layrnorm", WIDTH) | norm(f"{visual}post_layernorm", WIDTH)
    for index in range(DEPTH):
        shapes |= _apart(f"{visual}layers.{index}", WIDTH) | _apart(f"{visual}STAN_S_layers.{index}", WIDTH)
        time = f"{visual}STAN_T_layers.{index}"
        shapes |= norm(f"{time}.layer_norm1", WIDTH) | _attention_apart(time, WIDTH)
        shapes |= layer(f"{time}.temporal_fc", WIDTH, WIDTH)
    shapes |= {f"{text}embeddings.token_embedding.weight": (VOCABULARY, TEXT)}
    shapes |= {f"{text}embeddings.position_embedding.weight": (WORDS, TEXT)}
    shapes |= {f"{text}embeddings.position_ids": (1, WORDS), "text_backbone.text_projection.weight": (SHARED, TEXT)}
    return shapes | norm(f"{text}final_layer_norm", TEXT) | _apart(f"{text}encoder.layers.0", TEXT)


def _sentence_layer(name: str) -> Shapes:
    shapes = attention(f"{name}.self_attn", SHARED) | norm(f"{name}.norm1", SHARED) | norm(f"{name}.norm2", SHARED)
    return shapes | layer(f"{name}.linear1", SHARED, SHARED) | layer(f"{name}.linear2", SHARED, SHARED)


def cap4video(scores: str = "video") -> Shapes:
    """Both models have the modules of both, but for the weights of words and frames."""
    shapes, block = tower("clip.visual.") | texts("clip."), "co_connetion_transformer_model_block.0."
    parts = [f"biattention.{name}{number}" for name in ("query", "key", "value") for number in (1, 2)]
    parts += [f"biOutput.{name}" for name in ("dense1", "q_dense1", "dense2", "q_dense2")]
    parts += [f"{side}_{name}.dense" for side in "vt" for name in ("intermediate", "output")]
    for part in parts:
        shapes |= layer(f"{block}{part}", SHARED, SHARED)
    for name in ("biOutput.LayerNorm1", "biOutput.LayerNorm2", "v_output.LayerNorm", "t_output.LayerNorm"):
        shapes |= norm(f"{block}{name}", SHARED)
    shapes |= {"frame_position_embeddings.weight": (WORDS, SHARED), "text_position_embeddings.weight": (WORDS, SHARED)}
    shapes |= {"sentence_position_embeddings.weight": (30, SHARED)} | blocks("transformerClip.resblocks", SHARED, 2)
    shapes |= layer("fuse_weight_fc", 2, SHARED)
    for name in ("caption_transformer_layer", *(f"caption_transformer_encoder.layers.{n}" for n in (0, 1))):
        shapes |= _sentence_layer(name)
    scorers = ("query_weight_fc", *(("text_weight_fc", "video_weight_fc") if scores == "video" else ()))
    for name in scorers:
        shapes |= layer(f"{name}.0", SHARED, SHARED) | layer(f"{name}.2", 1, SHARED)
    return shapes


FILES = {
    "text4vis": text4vis,
    "bike": bike,
    "uniformerv2": uniformerv2,
    "atm": atm,
    "clip2video": clip2video,
    "ts2-net": ts2_net,
    "cap4video": cap4video,
    "stan": stan,
}
"""A file of each format."""


PARTS = ("first-third", "middle-third", "last-third"), ("tap-before", "tap-own", "tap-after")


def rebuilt(reading: Any, ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mapping's other direction: the authors' tensors that the student's give, parts put together."""
    found: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    for pair in reading.student:
        if pair.ours.endswith("num_batches_tracked"):
            continue
        if any(pair.change in each for each in PARTS):
            parts.setdefault(pair.theirs[0], {})[pair.change] = ours[pair.ours]
            continue
        back = to_theirs(pair.change, ours[pair.ours], tuple(theirs[pair.theirs[0]].shape))
        found |= dict(zip(pair.theirs, back, strict=True))
    for name, part in parts.items():
        thirds = all(key in part for key in PARTS[0])
        found[name] = (
            torch.cat([part[key] for key in PARTS[0]])
            if thirds
            else torch.stack([part[key] for key in PARTS[1]], dim=2)
        )
    return found
