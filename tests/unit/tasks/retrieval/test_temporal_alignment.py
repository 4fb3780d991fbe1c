"""CLIP2Video's similarity and loss against independent float64 statements, and the authors' counts."""

import pytest
import torch
from torch import nn

import clip2video_statement as statement
import matching_statement
import oracle
import retrieval_toys
from side4video.core.seeds import seeded
from side4video.planning.meta_model import build_meta_model
from side4video.tasks.retrieval.temporal_alignment import TemporalAlignmentMatching
from tiny import tiny

TEXTS, WORDS, WIDTH = 4, 6, 128


def tokens():
    return matching_statement.make_tokens(WORDS)


class Inputs(nn.Module):
    """Features as parameters, so that their gradients are compared too."""

    def __init__(self, text, *, frames, videos, layers):
        super().__init__()
        self.words = nn.Parameter(torch.randn(TEXTS, WORDS, WIDTH))
        self.frames = nn.Parameter(torch.randn(videos, frames, WIDTH))
        self.matching = TemporalAlignmentMatching(text, layers=layers, centres=5, frames=frames)

    def forward(self, mask_BT=None):
        texts = self.matching.embed_texts(self.words, tokens())
        return torch.stack(self.matching.compare_each(texts, self.matching.embed_videos(self.frames, mask_BT)))


@pytest.fixture(scope="module")
def text():
    return retrieval_toys.text_tower(width=WIDTH, output_dim=WIDTH, layers=3, words=20, head_width=64)


def make(text, *, frames=5, videos=3, layers=2):
    with seeded(0):
        inputs = Inputs(text, frames=frames, videos=videos, layers=layers)
    oracle.perturb(inputs.matching, seed=1, by=0.05)
    return inputs


def check(inputs, mask_BT=None, *, layers=2):
    state = oracle.double(inputs, trains=True)
    own = {name.removeprefix("matching."): each for name, each in state.items() if name.startswith("matching.")}
    expected = []
    for row, words in enumerate(state["words"]):
        for video, frames in enumerate(state["frames"]):
            real = None if mask_BT is None else mask_BT[video].tolist()
            expected += statement.similarities(words, tokens()[row], frames, own, layers=layers, real=real)
    shape = (TEXTS, len(inputs.frames), 2)
    oracle.assert_equal(inputs(mask_BT), torch.stack(expected).view(shape).permute(2, 0, 1), inputs, state)


@pytest.mark.parametrize("sizes", [{}, {"frames": 2, "videos": 1}, {"frames": 4, "layers": 1}], ids=str)
def test_similarities_and_gradients_equal_the_statement(text, sizes):
    check(make(text, **sizes), layers=sizes.get("layers", 2))


def test_frames_that_fill_up_a_short_video(text):
    mask_BT = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]).bool()
    check(make(text), mask_BT)


def test_twin_that_gives_a_video_the_mask_of_another(text):
    inputs, mask_BT = make(text), torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]).bool()
    embed = inputs.matching.embed_videos
    inputs.matching.embed_videos = lambda frames, mask: embed(frames, mask.roll(1, 0))
    with pytest.raises(AssertionError):
        check(inputs, mask_BT)


def test_one_frame_alone_has_no_difference(text):
    inputs = make(text, frames=1)
    state = oracle.double(inputs, trains=True)
    own = {name.removeprefix("matching."): each for name, each in state.items() if name.startswith("matching.")}
    found = inputs()
    for row, words in enumerate(state["words"]):
        expected = statement.similarities(words, tokens()[row], state["frames"][0], own, layers=2)
        torch.testing.assert_close(found[:, row, 0].double(), torch.stack(expected), rtol=1e-4, atol=1e-5)


def words_before_the_begin(matching):
    align = matching.alignment.forward
    matching.alignment.forward = lambda tokens, mask: align(tokens, None)


def other_centres(matching):
    alignment = matching.alignment
    alignment.residual_centres_KE, alignment.centres_KE = alignment.centres_KE, alignment.residual_centres_KE


def differences_backwards(matching):
    difference = matching.difference.forward
    matching.difference.forward = lambda frames, mask: difference(frames.flip(1), mask)


@pytest.mark.parametrize("spoil", [words_before_the_begin, other_centres, differences_backwards])
def test_twins(text, spoil):
    inputs = make(text)
    expected = inputs().detach()
    spoil(inputs.matching)
    assert not torch.allclose(inputs(), expected, atol=1e-3)


def test_the_loss_is_the_mean_of_each_similaritys_own():
    student = retrieval_toys.make_student("one", "clip2video", matching="temporal-alignment")
    logits = torch.randn(2, 4, 4, dtype=torch.float64)
    targets = student.task.mock_targets(4, "cpu")
    apart = sum(matching_statement.cross_entropies(each) for each in logits) / 2
    assert float(student.task.loss(logits, targets)) / 4 == pytest.approx(float(apart), rel=1e-6)
    together = matching_statement.cross_entropies(logits.mean(0))
    assert abs(float(apart) - float(together)) > 1e-2


def test_as_many_parameters_as_in_the_authors_code():
    backbone = {"kind": "open-clip", "model": "ViT-B-32-quickgelu", "weights": {"kind": "random"}, "precision": "fp32"}
    task = {"kind": "retrieval", "matching": {"kind": "temporal-alignment"}}
    spec = tiny(backbone=backbone, method={"kind": "clip2video"}, task=task, data={"size": 224, "frames": 12})
    module = build_meta_model(spec, classes=1).module
    assert sum(parameter.numel() for parameter in module.parameters()) == 170_238_209
