"""EVL: the decoder alone, as its checkpoints do not hold the frozen tower.

Names are those of github.com/OpenGVLab/efficient-video-recognition (`model.py`, `vision_transformer.py`): `decoder` and
`proj`. The state is under `model`.
"""

from collections.abc import Iterator

from side4video.apps.imports.formats.format import ImportFormat
from side4video.apps.imports.pairs import FileShapes, Pair, Reading, depthwise, layers, weight_and_bias

_DECODER = {
    "query_norm": "norm1",
    "perceptron_norm": "norm2",
    "token_norm": "norm3",
    "query": "attn.q_proj",
    "key": "attn.k_proj",
    "value": "attn.v_proj",
    "leave": "attn.out_proj",
    "widen": "mlp.fc1",
    "narrow": "mlp.fc2",
}


def _read(shapes: FileShapes) -> Reading:
    number = shapes.count("decoder.decoder_layers.")
    switches = {
        "temporal_convolution": "decoder.temporal_conv.0.weight" in shapes,
        "temporal_positions": "decoder.temporal_pos_embed.0" in shapes,
        "temporal_attention": "decoder.cross_attention.0.w1" in shapes,
    }
    student = [
        Pair("network.query_D", ("decoder.cls_token",)),
        *weight_and_bias("network.final_norm", "proj.0"),
        *weight_and_bias("head.1", "proj.2"),
        *(pair for index in range(number) for pair in _stage(index, switches)),
    ]
    width = shapes.size("decoder.cls_token", 0, axes=1)
    hidden = shapes.size("decoder.decoder_layers.0.mlp.fc1.weight", 0, axes=2)
    has_positions = switches["temporal_positions"]
    return Reading(
        backbone={},
        method={"kind": "evl", "layers": number, "mlp_ratio": hidden // width, **switches},
        student=tuple(student),
        frames=shapes.size("decoder.temporal_pos_embed.0", 0, axes=2) if has_positions else 8,
        classifier="proj.2.weight",
        assumed=() if has_positions else ("data.frames 8",),
    )


def _stage(index: int, switches: dict[str, bool]) -> Iterator[Pair]:
    stage = f"network.stages.{index}."
    yield from layers(f"{stage}decoder.", f"decoder.decoder_layers.{index}.", _DECODER)
    if switches["temporal_convolution"]:
        yield from depthwise(f"{stage}convolution", f"decoder.temporal_conv.{index}", "depthwise-1d")
    if switches["temporal_positions"]:
        yield Pair(f"{stage}positions_TD", (f"decoder.temporal_pos_embed.{index}",))
    if switches["temporal_attention"]:
        yield Pair(f"{stage}lookup.before_RD", (f"decoder.cross_attention.{index}.w1",))
        yield Pair(f"{stage}lookup.after_RD", (f"decoder.cross_attention.{index}.w2",))


EVL = ImportFormat(
    name="evl",
    title="EVL, with --tower for its frozen CLIP",
    repository="github.com/OpenGVLab/efficient-video-recognition",
    mark="decoder.decoder_layers.0.norm3.weight",
    read=_read,
)
