"""Cap4Video's networks against an independent float64 statement, and the authors' counts."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import cap4video_statement as statement
import clip_text_statement
import oracle
import text_pairs
from side4video.core.seeds import seeded
from side4video.models.networks.cap4video import Cap4Video, DescribedFrames, SentenceEncoder
from side4video.models.networks.contract import Descriptions
from side4video.planning.meta_model import build_meta_model
from tiny import tiny

SENTENCES = (text_pairs.TEXTS[0], text_pairs.TEXTS[1], text_pairs.TEXTS[2], text_pairs.TEXTS[1])


class Frames(nn.Module):
    """Stands for a network that gives frame features: they are a parameter."""

    def __init__(self, *sizes):
        super().__init__()
        self.features = nn.Parameter(torch.randn(sizes))

    def forward(self, _):
        return self.features


def build(*, video=True, sentences=True, width=128, batch=2, frames=3, layers=2):
    tower, text = text_pairs.make_towers(output_dim=width)
    text.requires_grad_(True)
    with seeded(3):
        network = Cap4Video(
            Frames(batch, frames, width),
            text,
            frames=DescribedFrames(text, layers=layers, frames=frames) if video else None,
            sentences=SentenceEncoder(width, layers=layers) if sentences else None,
        )
    for part in (network.frames, network.sentences):
        if part is not None:
            oracle.perturb(part, seed=5, by=0.05)
            for dropout in (each for each in part.modules() if isinstance(each, nn.Dropout)):
                dropout.p = 0.0
    features = oracle.own_features(tower, oracle.make_video(batch=batch, frames=frames))
    tokens = text_pairs.make_tokens(SENTENCES).view(2, 2, -1)[:batch]
    mask = torch.tensor([[True, True], [True, False]])[:batch]
    return network, features, Descriptions(tokens, mask)


def truth(network, features, descriptions):
    state = oracle.double(network, trains=True)
    prefix = "text.transformer."
    text = {name.removeprefix(prefix): each for name, each in state.items() if name.startswith(prefix)}
    words = clip_text_statement.full(
        descriptions.tokens_BMW.flatten(0, 1),
        text,
        depth=network.text.depth,
        heads=network.text.heads,
        quick=False,
    ).unflatten(0, descriptions.tokens_BMW.shape[:2])
    out = []
    for row, tokens_MW in enumerate(descriptions.tokens_BMW):
        count = int(descriptions.mask_BM[row].sum())
        sentences = [words[row, place, int(tokens_MW[place].argmax())] for place in range(count)]
        parts = []
        if network.frames is not None:
            mask_BT = features.frame_mask_BT
            real = None if mask_BT is None else mask_BT[row].tolist()
            frames = state["video.features"][row]
            parts.append(
                statement.frames_of_video(frames, sentences, state, layers=len(network.frames.blocks), real=real)
            )
        if network.sentences is not None:
            parts.append(statement.sentence_features(sentences, state, layers=len(network.sentences.layers)))
        out.append(torch.cat(parts))
    return out, state


def real_rows(found, mask):
    """Features of what is real; sentences of one video fewer."""
    return [row[flags] for row, flags in zip(found, mask, strict=True)]


def check(network, features, descriptions):
    expected, state = truth(network, features, descriptions)
    found, words, mask = network(features, text_pairs.make_tokens(), descriptions)
    assert words.shape[:2] == text_pairs.make_tokens().shape
    if features.frame_mask_BT is not None:
        mask = mask.clone()
        mask[:, : features.frame_mask_BT.shape[1]] = True
    oracle.assert_equal(torch.cat(real_rows(found, mask)), torch.cat(expected), network, state)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(
    "options",
    [{}, {"sentences": False}, {"video": False}, {"width": 40, "frames": 1}, {"batch": 1, "layers": 1}],
    ids=str,
)
def test_outputs_and_gradients_equal_the_statement(options, training):
    network, features, descriptions = build(**options)
    network.train(training)
    check(network, features, descriptions)


def test_frames_that_fill_up_a_short_video():
    network, features, descriptions = build(sentences=False)
    mask_BT = torch.tensor([[True, True, False], [True, True, True]])
    network.eval()
    check(network, replace(features, frame_mask_BT=mask_BT), descriptions)


def reads_all_sentences(network):
    forward = network.frames.attention.forward
    network.frames.attention.forward = lambda frames, sentences, mask: forward(frames, sentences, torch.ones_like(mask))


def swapped_norms(network):
    attention = network.frames.attention
    attention.attention_norm, attention.perceptron_norm = attention.perceptron_norm, attention.attention_norm


@pytest.mark.parametrize("spoil", [reads_all_sentences, swapped_norms])
def test_twins(spoil):
    network, features, descriptions = build(sentences=False)
    network.eval()
    expected = network(features, text_pairs.make_tokens(), descriptions)[0].detach()
    spoil(network)
    assert not torch.allclose(network(features, text_pairs.make_tokens(), descriptions)[0], expected, atol=1e-4)


def test_as_many_parameters_as_in_the_authors_code_without_what_nothing_reads():
    """Theirs: 173,186,822. Nothing reads half of the co-attention and two projections behind it."""
    backbone = {"kind": "open-clip", "model": "ViT-B-32-quickgelu", "weights": {"kind": "random"}, "precision": "fp32"}
    task = {"kind": "retrieval", "matching": {"kind": "described"}}
    method = {"kind": "cap4video", "scores": "both"}
    data = {"size": 224, "frames": 12, "descriptions": {"file": "sentences.json"}}
    spec = tiny(backbone=backbone, method=method, task=task, data=data)
    module = build_meta_model(spec, classes=1).module
    whole = 151_277_313 + 3_681_280 + 12_609_536 + 2 * 263_169 + 39_424 + 15_360 + 3_155_968
    half_of_the_co_attention = 3_681_280 - 1_577_984
    assert sum(each.numel() for each in module.parameters()) == whole - half_of_the_co_attention
