"""Small towers of BLIP, texts as tokens, files in transformers' layout, and students of UniAdapter on BLIP."""

import functools

import torch
from torch import Tensor

import oracle
from side4video.core.seeds import derive_seed, seeded
from side4video.models.backbones.blip import BlipSpec
from side4video.models.methods.uniadapter_blip import UniAdapterBLIPSpec
from side4video.models.networks.contract import FrozenFeatures

SPEC = UniAdapterBLIPSpec(dim=9, scale=0.3, rank=5)
TEXTS = ((101, 5, 7, 11, 102, 0, 0), (101, 3, 102, 0, 0, 0, 0), (101, 8, 2, 9, 4, 6, 102))
"""A text with padding, a short one, and one without padding."""
SIZES = {"image_size": 12, "patch_size": 4, "width": 16, "layers": 2, "head_width": 8, "output_dim": 10}


def document(**changed) -> dict:
    """The `backbone` section of a toy."""
    return {"kind": "blip", "weights": {"kind": "random", "seed": 1}, "precision": "fp32", **SIZES, **changed}


@functools.cache
def _text_state(width: int, layers: int, head_width: int, output_dim: int):
    """Drawing the embeddings of all tokens takes longer than all else here."""
    spec = BlipSpec.model_validate(document(width=width, layers=layers, head_width=head_width, output_dim=output_dim))
    text = spec.build_text_tower()
    oracle.perturb(text, seed=6)
    return text.state_dict()


def text_tower(device: str = "cpu", **changed):
    """A copy of a toy text tower whose every tensor is away from the ones and zeros that hide mistakes."""
    spec = BlipSpec.model_validate(document(**changed))
    text = spec.build_text_tower("meta").requires_grad_(False)
    text.tokenizer = WordTokenizer()
    if device == "meta":
        return text
    state = _text_state(spec.width, spec.layers, spec.head_width, spec.output_dim)
    text.load_state_dict({name: tensor.clone() for name, tensor in state.items()}, assign=True)
    text.logit_scale = torch.tensor(1 / 0.07).log()
    return text.requires_grad_(False)


def image_tower(*, device: str = "cpu", **changed):
    """A toy image tower, moved as the text tower is."""
    tower = BlipSpec.model_validate(document(**changed)).build(device)
    if device != "meta":
        oracle.perturb(tower, seed=2)
    return tower


def build(spec=SPEC, *, moved=True, batch=2, frames=3, **changed):
    """An image tower, the network on it, and what a pass gives."""
    tower, text = image_tower(**changed), text_tower(**changed)
    with seeded(3):
        network = spec.build_pair(tower, text, frames=frames)
    if moved:
        for number, part in enumerate(
            (network.trained, network.added_keys, network.added_values, network.matching_head)
        ):
            oracle.perturb(part, seed=5 + number)
    video = oracle.make_video(batch=batch, frames=frames, size=changed.get("image_size", 12))
    return tower, network, FrozenFeatures(video, tower.normalise, tower.shape)


def tokens(texts=TEXTS) -> Tensor:
    """Texts [Q, W]."""
    return torch.tensor(texts)


class WordTokenizer:
    """Tokens of whole words, without the files of BERT's tokenizer."""

    def __call__(self, texts, *, words):
        rows = [[101, *(1 + derive_seed(word) % 90 for word in text.split()), 102] for text in texts]
        cut = [row if len(row) <= words else [*row[: words - 1], 102] for row in rows]
        return torch.tensor([row + [0] * (words - len(row)) for row in cut], dtype=torch.int64).view(-1, words)

    def feature_positions(self, tokens_QW):
        return torch.zeros(len(tokens_QW), dtype=torch.int64)
