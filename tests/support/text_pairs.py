"""Small image and text towers in one space, texts as tokens, and training steps of a pair of them for retrieval."""

import copy
import functools
import operator

import pytest
import torch
from torch import Tensor

import oracle
from side4video.core.seeds import seeded
from side4video.models.backbones.vit import ViTSpec
from side4video.models.frozen_features import frozen_features
from side4video.tasks.context import TaskContext
from side4video.tasks.retrieval.spec import RetrievalSpec
from side4video.tasks.retrieval.text_video import Texts

BEGIN, END = 49406, 49407
TEXTS = ((BEGIN, 5, 7, 11, END, 0, 0), (BEGIN, 3, END, 0, 0, 0, 0), (BEGIN, 8, 2, 9, 4, 6, END))
"""A text with padding, a short one, and one without padding."""


def make_towers(*, precision="fp32", size=12, patch=4, width=24, depth=3, text_width=16, text_depth=3, **options):
    """An image tower and its text tower, every tensor away from the ones and zeros that hide mistakes."""
    spec = ViTSpec(
        image_size=size,
        patch_size=patch,
        width=width,
        layers=depth,
        head_width=8,
        output_dim=options.get("output_dim", 20),
        quick_gelu=options.get("quick", False),
        text={"kind": "transformer", "width": text_width, "layers": text_depth, "head_width": 8, "words": 24},
        weights={"kind": "random", "seed": 1},
        precision=precision,
    )
    tower, text = spec.build(), copy.deepcopy(_text_tower(spec.model_copy(update={"precision": "fp32"})))
    if precision != "8-bit":  # whose matrices are whole numbers
        oracle.perturb(tower, seed=2)
    return tower, text.requires_grad_(False)


@functools.cache
def _text_tower(spec: ViTSpec):
    """Drawing the embeddings of all tokens takes longer than all else here."""
    text = spec.build_text_tower()
    oracle.perturb(text, seed=6)
    return text


def make_tokens(texts=TEXTS) -> Tensor:
    """Texts [Q, W]."""
    return torch.tensor(texts)


def up_to_the_end(words_QWE: Tensor, tokens_QW: Tensor) -> Tensor:
    """Features [N, E] at begins, words and ends, one text after the other."""
    rows = [words[: int(tokens.argmax()) + 1] for words, tokens in zip(words_QWE, tokens_QW, strict=True)]
    return torch.cat(rows)


def both(frames_BTE: Tensor, words_QWE: Tensor, tokens_QW: Tensor) -> Tensor:
    """Both sides' features that count, as one vector; neither side is lost beside the other."""
    words_NE = up_to_the_end(words_QWE, tokens_QW)
    sides = [side / side.detach().abs().max() for side in (frames_BTE, words_NE)]
    return torch.cat([side.flatten() for side in sides])


def of_frozen_clip(tower, text, video_BTCHW: Tensor, tokens_QW: Tensor) -> tuple[Tensor, Tensor]:
    """Frame and word features of both towers as they are."""
    last = tower.shape.depth - 1
    tokens_NSD = tower(video_BTCHW.flatten(0, 1), [last])[last]
    frames_NE = tower.project(tower.pool(tokens_NSD)).float()
    with torch.no_grad():
        return frames_NE.unflatten(0, video_BTCHW.shape[:2]), text(tokens_QW)


def assemble(method, tower, text_tower, *, frames=3, matching="mean", **task):
    """What is trained for retrieval, and the task."""
    needs = TaskContext(
        method=method,
        tower=tower,
        frames=frames,
        classes=(),
        encode_texts=lambda texts: pytest.fail(f"{texts} are to be classes"),
        text_tower=lambda: text_tower,
    )
    with seeded(3):
        return RetrievalSpec.model_validate({"matching": {"kind": matching}, **task}).assemble(needs)


def read(method, tower, video_BTCHW: Tensor):
    """What a pass of the tower gives to a method."""
    reads = method.frame_request(tower.shape, frames=video_BTCHW.shape[1])
    return frozen_features(tower, video_BTCHW, reads)


def train(module, task, features, *, steps=2, rate=1e-2):
    """A few steps on one batch in which each text has its video; returns the losses."""
    module.train()
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=0.0)
    targets = Texts(make_tokens()[: len(features.video_BTCHW)], torch.arange(len(features.video_BTCHW)))
    losses = []
    for _ in range(steps):
        loss = task.loss(module(features, targets), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def snapshot(features) -> list[Tensor]:
    """Copies of all that a pass gave."""
    given = [features.video_BTCHW, *features.tokens.values(), features.class_BTD]
    return [tensor.clone() for tensor in given if tensor is not None]


def is_untouched(features, before: list[Tensor]) -> bool:
    """Whether all that a pass gave is what it was, bit by bit."""
    now = snapshot(features)
    return len(now) == len(before) and all(torch.equal(left, right) for left, right in zip(now, before, strict=True))


def train_in_a_pack(methods, tower, video_BTCHW: Tensor, *, spoil=lambda features: None):
    """Train students on one pass; what each has learnt, and whether the pass is still what it was."""
    reads = functools.reduce(operator.or_, (method.frame_request(tower.shape, frames=3) for method in methods))
    features = frozen_features(tower, video_BTCHW, reads)
    before, learnt = snapshot(features), []
    for method in methods:
        task, module = assemble(method, tower, make_towers()[1])
        with seeded(8):
            train(module, task, features)
        learnt.append({name: p.detach() for name, p in module.named_parameters() if p.requires_grad})
        spoil(features)
    return learnt, is_untouched(features, before)


def trained_names(module) -> set[str]:
    """Tensors that ask for a gradient."""
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}
