"""How far our walk through a library's model is from the library's own forward, at two blocks and with random weights.

Every parameter is moved away from the ones and zeros that hide mistakes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import open_clip.timm_model
import timm
import torch
from open_clip.model import _build_text_tower, _build_vision_tower
from torch import Tensor, nn

from side4video.models.backbones import OpenCLIPSpec, TimmSpec
from side4video.models.backbones.open_clip_models import read_config
from side4video.models.towers.text_tower import TextTower, load_text_tower
from side4video.models.towers.timm_trunk import TimmTrunk
from side4video.models.towers.trunk import Trunk

DEPTH, VOCABULARY, FRAMES, TEXTS = 3, 300, 2, 3


@dataclass(frozen=True)
class Distance:
    """The largest differences from the library's values, divided by the largest of these."""

    tokens: float
    """Of the outputs of the blocks; where the library does not give them, of those of the last norm."""
    image: float
    """Of the features of frames, after pooling and projection."""
    text: float | None = None
    """Of the features of texts; None without a text tower."""

    @property
    def largest(self) -> float:
        return max(self.tokens, self.image, self.text or 0.0)


@torch.no_grad()
def timm_distance(name: str) -> Distance:
    """Of a model of timm, at its smallest frames: six patches a side."""
    shape = TimmSpec(model=name, weights={"kind": "random"}, image_size=_patch(name) * 6).shape()
    size = shape.image_size
    model: Any = timm.create_model(name, pretrained=False, num_classes=0, depth=DEPTH, img_size=size).eval()
    _shake(model)
    trunk = TimmTrunk(model)
    frames_NCHW = torch.randn(FRAMES, 3, size, size)
    blocks = _outputs_of(list(model.blocks), lambda: model.forward_features(frames_NCHW))
    tokens, feature = _walk(trunk, frames_NCHW)
    expected = model.forward_head(model.forward_features(frames_NCHW), pre_logits=True)
    return Distance(max(map(_distance, tokens, blocks)), _distance(feature, expected))


@torch.no_grad()
def open_clip_distance(name: str) -> Distance:
    """Of both towers of a model of open_clip, at its own frame size."""
    config = small_config(name)
    with of_depth(DEPTH):
        visual: Any = _build_vision_tower(
            config["embed_dim"], config["vision_cfg"], config.get("quick_gelu", False)
        ).eval()
        with mock.patch("side4video.models.backbones.open_clip.read_config", return_value=config):
            trunk = OpenCLIPSpec(model=name, weights={"kind": "random"}).build_trunk()
    _shake(visual)
    inner = getattr(visual, "trunk", visual)
    trunk.visual.load_state_dict(inner.state_dict(), strict=True, assign=True)
    trunk.rebuild_buffers(torch.float32)
    trunk.visual.eval()
    size = config["vision_cfg"].get("image_size", 224)
    frames_NCHW = torch.randn(FRAMES, 3, size, size)
    library = list(inner.blocks) if hasattr(inner, "blocks") else list(inner.transformer.resblocks)
    blocks = _outputs_of(library, lambda: visual(frames_NCHW))
    tokens, pooled = _walk(trunk, frames_NCHW)
    image = _distance(trunk.project(pooled), visual(frames_NCHW))
    text = None if OpenCLIPSpec(model=name, weights={"kind": "random"}).without_texts else _text_distance(config)
    return Distance(max(map(_distance, tokens, blocks)), image, text)


def small_config(name: str) -> dict[str, Any]:
    """open_clip's configuration with few blocks and a small vocabulary."""
    config = read_config(name)
    vision, text = dict(config["vision_cfg"]), dict(config["text_cfg"])
    vision.pop("timm_drop_path", None)
    if "timm_model_name" not in vision:
        vision["layers"] = DEPTH
    if "hf_model_name" not in text:
        text |= {"layers": 2, "vocab_size": VOCABULARY}
    return config | {"vision_cfg": vision, "text_cfg": text}


def _text_distance(config: dict[str, Any]) -> float:
    library: Any = _build_text_tower(config["embed_dim"], config["text_cfg"], config.get("quick_gelu", False)).eval()
    _shake(library)
    tower: TextTower = load_text_tower(config, weights=None, model="", device="meta")  # type: ignore[arg-type]
    tower.transformer.load_state_dict(library.state_dict(), strict=True, assign=True)
    words = config["text_cfg"].get("context_length", 77)
    tokens_QW = torch.randint(3, VOCABULARY - 1, (TEXTS, words))
    tokens_QW[:, 5] = VOCABULARY - 1 if tower.tokenizer.pool_type == "argmax" else tower.tokenizer.end_id
    features_QE = tower(tokens_QW)[torch.arange(TEXTS), tower.tokenizer.feature_positions(tokens_QW)]
    return _distance(features_QE, library(tokens_QW))


def _walk(trunk: Trunk, frames_NCHW: Tensor) -> tuple[list[Tensor], Tensor]:
    tokens = [trunk.embed(frames_NCHW)]
    for index in range(DEPTH):
        tokens.append(trunk.run_block(index, tokens[-1].clone()))
    return tokens[1:], trunk.pool(tokens[-1])


def _outputs_of(blocks: list[nn.Module], run: Any) -> list[Tensor]:
    found: list[Tensor] = []
    handles = [block.register_forward_hook(lambda *results: found.append(results[2].clone())) for block in blocks]
    run()
    for handle in handles:
        handle.remove()
    return found


@contextmanager
def of_depth(depth: int) -> Iterator[None]:
    """timm makes models of `depth` blocks."""
    make = timm.create_model

    def make_small(name: str, **options: Any) -> nn.Module:
        return make(name, depth=depth, **options)

    with mock.patch.object(timm, "create_model", make_small):
        assert open_clip.timm_model.timm is timm
        yield


@torch.no_grad()
def _shake(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)


def _distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def _patch(name: str) -> int:
    from side4video.models.backbones.timm_models import timm_models

    return timm_models()[name].shape.patch_size
