"""Checkpoints as their authors write them: names and shapes, listed from the descriptions of the formats, not from the
mappings; and each mapping's other direction, from our tensors to theirs.
"""

import math

import torch
from torch import Tensor

WIDTH, DEPTH, PATCH, SIZE, FRAMES, DIM, CLASSES = 128, 2, 8, 16, 4, 128, 5
TEXT, SHARED, WORDS, VOCABULARY = 64, 32, 77, 49408
"""Sizes of the toys: of the tower and the side network, of the text tower, and of what they share."""
PATCHES = (SIZE // PATCH) ** 2
Shapes = dict[str, tuple[int, ...]]


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def batch_norm(name: str, width: int) -> Shapes:
    running = {f"{name}.running_mean": (width,), f"{name}.running_var": (width,), f"{name}.num_batches_tracked": ()}
    return norm(name, width) | running


def layer(name: str, outputs: int, *inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, *inputs), f"{name}.bias": (outputs,)}


def attention(name: str, width: int) -> Shapes:
    entered = {f"{name}.in_proj_weight": (3 * width, width), f"{name}.in_proj_bias": (3 * width,)}
    return entered | layer(f"{name}.out_proj", width, width)


def clip_block(name: str, width: int) -> Shapes:
    mlp = layer(f"{name}.mlp.c_fc", 4 * width, width) | layer(f"{name}.mlp.c_proj", width, 4 * width)
    return norm(f"{name}.ln_1", width) | attention(f"{name}.attn", width) | norm(f"{name}.ln_2", width) | mlp


def blocks(name: str, width: int, number: int) -> Shapes:
    return {key: size for index in range(number) for key, size in clip_block(f"{name}.{index}", width).items()}


def tower(prefix: str, *, without: tuple[str, ...] = ()) -> Shapes:
    """CLIP's image tower; some files are without its last layers."""
    shapes = {f"{prefix}conv1.weight": (WIDTH, 3, PATCH, PATCH), f"{prefix}class_embedding": (WIDTH,)}
    shapes |= {f"{prefix}positional_embedding": (PATCHES + 1, WIDTH), f"{prefix}proj": (WIDTH, SHARED)}
    shapes |= norm(f"{prefix}ln_pre", WIDTH) | norm(f"{prefix}ln_post", WIDTH)
    shapes |= blocks(f"{prefix}transformer.resblocks", WIDTH, DEPTH)
    return {
        name: size for name, size in shapes.items() if not name.startswith(tuple(prefix + each for each in without))
    }


def texts(prefix: str) -> Shapes:
    """CLIP's text tower, and the scale of the logits."""
    shapes = {f"{prefix}token_embedding.weight": (VOCABULARY, TEXT), f"{prefix}positional_embedding": (WORDS, TEXT)}
    shapes |= {f"{prefix}text_projection": (TEXT, SHARED), f"{prefix}logit_scale": ()}
    return shapes | norm(f"{prefix}ln_final", TEXT) | blocks(f"{prefix}transformer.resblocks", TEXT, 1)


def _side(visual: str, *, convolutions: tuple[str, ...], norms: tuple[str, str], rows: int) -> Shapes:
    inside = f"{visual}transformer."
    shapes = layer(f"{visual}side_conv1", DIM, 3, 3, PATCH, PATCH) | batch_norm(f"{visual}side_pre_bn3d", DIM)
    shapes |= batch_norm(f"{visual}side_post_bn", DIM)
    shapes[f"{inside}side_spatial_position_embeddings"] = (rows, DIM)
    for index in range(DEPTH):
        block = f"{inside}side_transformer.{index}."
        enter, mix, leave = convolutions
        shapes |= layer(f"{block}{enter}", DIM, DIM, 1, 1, 1) | layer(f"{block}{leave}", DIM, DIM, 1, 1, 1)
        shapes |= layer(f"{block}{mix}", DIM, 1, 3, 1, 1)
        shapes |= batch_norm(f"{block}{norms[0]}", DIM) | batch_norm(f"{block}{norms[1]}", DIM)
        shapes |= norm(f"{block}ln_1", DIM) | attention(f"{block}attn", DIM)
        shapes |= layer(f"{block}mlp.fc1", 4 * DIM, DIM) | layer(f"{block}mlp.fc2", DIM, 4 * DIM)
        shapes |= norm(f"{inside}side_lns.{index}", WIDTH) | layer(f"{inside}side_linears.{index}", DIM, WIDTH)
    return shapes


def side4video() -> Shapes:
    side = _side("visual.", convolutions=("conv.0", "conv.1", "conv.2"), norms=("bn_1", "bn_2"), rows=PATCHES)
    return tower("visual.", without=("ln_post", "proj")) | side | layer("fc", CLASSES, DIM)


def weights_of_tokens() -> Shapes:
    shapes: Shapes = {}
    for name in ("text_weight_fc", "video_weight_fc"):
        shapes |= layer(f"{name}.0", SHARED, SHARED) | layer(f"{name}.2", 1, SHARED)
    return shapes


def side4video_retrieval() -> Shapes:
    visual, names = "clip.visual.", ("pw_conv1", "dw_conv1", "pw_conv2")
    side = _side(visual, convolutions=names, norms=("norm1", "norm2"), rows=PATCHES + 1)
    return tower(visual) | side | {f"{visual}side_proj": (DIM, WIDTH)} | texts("clip.") | weights_of_tokens()


def st_adapter(places: tuple[str, ...] = ("adapter_pre_attn", "adapter_pre_mlp"), bottleneck: int = 24) -> Shapes:
    shapes = tower("", without=("proj",)) | layer("fc", CLASSES, WIDTH)
    for index in range(DEPTH):
        for place in places:
            adapter = f"transformer.resblocks.{index}.{place}."
            shapes |= layer(f"{adapter}fc1", bottleneck, WIDTH) | layer(f"{adapter}fc2", WIDTH, bottleneck)
            shapes |= layer(f"{adapter}conv", bottleneck, 1, 3, 1, 1)
    return shapes


def aim(adapters: tuple[str, ...] = ("T_Adapter_in", "T_Adapter", "S_Adapter", "MLP_Adapter")) -> Shapes:
    shapes = tower("backbone.", without=("proj",)) | layer("cls_head.fc_cls", CLASSES, WIDTH)
    shapes["backbone.temporal_embedding"] = (1, FRAMES, WIDTH)
    for index in range(DEPTH):
        for each in adapters:
            adapter = f"backbone.transformer.resblocks.{index}.{each}."
            shapes |= layer(f"{adapter}D_fc1", WIDTH // 4, WIDTH) | layer(f"{adapter}D_fc2", WIDTH, WIDTH // 4)
    return shapes


def evl() -> Shapes:
    shapes: Shapes = {"decoder.cls_token": (WIDTH,)} | norm("proj.0", WIDTH) | layer("proj.2", CLASSES, WIDTH)
    offsets = (2 * math.isqrt(PATCHES) - 1) ** 2
    for index in range(DEPTH):
        block = f"decoder.decoder_layers.{index}."
        for number in (1, 2, 3):
            shapes |= norm(f"{block}norm{number}", WIDTH)
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= layer(f"{block}attn.{name}", WIDTH, WIDTH)
        shapes |= layer(f"{block}mlp.fc1", 4 * WIDTH, WIDTH) | layer(f"{block}mlp.fc2", WIDTH, 4 * WIDTH)
        shapes |= layer(f"decoder.temporal_conv.{index}", WIDTH, 1, 3)
        shapes[f"decoder.temporal_pos_embed.{index}"] = (FRAMES, WIDTH)
        shapes |= {f"decoder.cross_attention.{index}.{name}": (offsets, WIDTH) for name in ("w1", "w2")}
    return shapes


def dist(alpha: int = 2, dim: int = 64, channels: int = 12) -> Shapes:
    net, frames, narrow = "dist_net.", FRAMES // alpha, dim // 4
    shapes = tower("visual.") | texts("") | layer(f"{net}temporal_stem", channels, 3, 5, PATCH, PATCH)
    shapes |= layer(f"{net}proj_spatial_cls_token", dim, WIDTH) | norm(f"{net}ln_post", dim)
    shapes |= {f"{net}proj": (dim, SHARED)}
    shapes |= {f"{net}aggregated_{kind}cls_token": (1, 1, dim) for kind in ("", "spatial_")}
    for index in range(DEPTH):
        shapes |= layer(f"{net}input_linears.{index}", dim, WIDTH)
        shapes |= layer(f"{net}integration2temporal_nets.{index}.linear_fuse", channels, dim)
        joining = f"{net}temporal2integration_nets.{index}."
        shapes |= layer(f"{joining}linear_fuse", dim, channels, alpha, 1, 1) | {
            f"{joining}cls_token": (1, 1, frames, dim)
        }
        temporal = f"{net}temporal_nets.{index}."
        shapes |= layer(f"{temporal}temporal_net.c_fc1", channels, channels, 3, 1, 1) | norm(f"{temporal}ln", channels)
        shapes |= layer(f"{temporal}temporal_net.c_fc2", channels, channels, 1, 3, 3)
        block = f"{net}integration_nets.{index}."
        shapes |= norm(f"{block}ln", dim) | norm(f"{block}ln_temporal", dim)
        shapes |= layer(f"{block}ffn.c_fc", dim, dim) | layer(f"{block}ffn.c_proj", dim, dim)
        shapes |= layer(f"{block}temporal_ffn.c_fc1", narrow, dim, 1, 1, 1)
        shapes |= layer(f"{block}temporal_ffn.c_fc2", narrow, narrow, 3, 1, 1)
        shapes |= layer(f"{block}temporal_ffn.c_proj", dim, narrow, 1, 1, 1)
    for index in range(2):
        pooling = f"{net}adapooling_nets.{index}."
        shapes[f"{pooling}positional_embedding"] = (1, frames, dim)
        for kind, token in (("temporal", "cls_token"), ("spatial", "spatial_cls_token")):
            shapes |= attention(f"{pooling}{kind}_transformer.attn", dim) | norm(
                f"{pooling}{kind}_transformer.ln_1", dim
            )
            shapes |= layer(f"{pooling}output_map_{token}.c_fc", 4 * dim, dim)
            shapes |= layer(f"{pooling}output_map_{token}.c_proj", dim, 4 * dim)
        shapes |= norm(f"{pooling}ln_out_temp_cls_token", dim) | norm(f"{pooling}ln_out_spat_cls_token", dim)
    return shapes


def clip4clip(similarity: str = "meanP") -> Shapes:
    shapes = tower("clip.visual.") | texts("clip.")
    if similarity == "seqTransf":
        shapes["frame_position_embeddings.weight"] = (WORDS, SHARED)
        shapes |= blocks("transformerClip.resblocks", SHARED, 2)
    if similarity == "tightTransf":
        shapes["cross.embeddings.position_embeddings.weight"] = (WORDS, SHARED)
        shapes |= blocks("cross.transformer.resblocks", SHARED, 2) | norm("cross.pooler.ln_pool", SHARED)
        shapes |= layer("cross.pooler.dense", SHARED, SHARED) | layer("similarity_dense", 1, SHARED)
    return shapes


FILES = {
    "side4video": side4video,
    "side4video-retrieval": side4video_retrieval,
    "st-adapter": st_adapter,
    "aim": aim,
    "evl": evl,
    "dist": dist,
    "clip4clip": clip4clip,
}
"""A file of each format."""


def values(shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    """Tensors of these shapes, at the scale of trained ones."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, size in shapes.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
            continue
        number = torch.randn(size, generator=generator)
        inputs = math.prod(size[1:]) if len(size) > 1 else 4
        scale = 0.3 if "embed" in name or "token" in name else inputs**-0.5
        is_scale = name.endswith((".weight", "running_var")) and len(size) == 1
        state[name] = 1 + 0.2 * number.tanh() if is_scale else scale * number
    for name in state.keys() & {"logit_scale", "clip.logit_scale"}:
        state[name] = torch.tensor(2.3)
    return state


def to_theirs(change: str, ours: Tensor, theirs: tuple[int, ...]) -> list[Tensor]:
    """The authors' tensors of one of ours; `theirs` is the shape of the first of them."""
    if change == "joined":
        return list(ours.chunk(3))
    if change in ("depthwise", "depthwise-1d", "transposed"):
        return [ours.t().reshape(theirs)]
    if change == "over-time":
        return [ours.permute(1, 2, 0).reshape(theirs)]
    if change == "stem":
        outputs, channels, frames, height, width = theirs
        return [ours.reshape(frames, outputs, channels, height, width).permute(1, 2, 0, 3, 4)]
    if change == "strided":
        outputs, inputs, stride, _, _ = theirs
        return [ours.reshape(outputs, stride, inputs).transpose(1, 2).reshape(theirs)]
    return [ours.reshape(theirs)]


def eva_side(visual: str, *, patches: int, width: int, depth: int, dim: int, is_retrieval: bool) -> Shapes:
    """The side network on EVA-CLIP's tower: half as many blocks as the tower, and a few names of the tower."""
    shapes = layer(f"{visual}side_conv1", dim, 3, 3, PATCH, PATCH) | batch_norm(f"{visual}side_pre_bn3d", dim)
    shapes[f"{visual}side_spatial_position_embeddings"] = (patches, dim)
    for index in range(depth // 2):
        block = f"{visual}side_blocks.{index}."
        shapes |= layer(f"{block}conv.0", dim, dim, 1, 1, 1) | layer(f"{block}conv.2", dim, dim, 1, 1, 1)
        shapes |= layer(f"{block}conv.1", dim, 1, 3, 1, 1) | norm(f"{block}ln_1", dim)
        shapes |= batch_norm(f"{block}bn_1", dim) | batch_norm(f"{block}bn_2", dim)
        for name in ("q_proj", "k_proj", "v_proj", "proj"):
            shapes |= layer(f"{block}attn.{name}", dim, dim)
        shapes |= layer(f"{block}mlp.0", 4 * dim, dim) | layer(f"{block}mlp.2", dim, 4 * dim)
        shapes |= norm(f"{visual}side_lns.{index}", dim) | layer(f"{visual}side_linears.{index}", dim, width)
    if is_retrieval:
        shapes |= batch_norm(f"{visual}side_post_bn", dim) | {f"{visual}side_proj": (dim, width)}
    return shapes | {f"{visual}blocks.{depth - 1}.norm1.weight": (width,)}
