"""What a student of retrieval is given and gives: tokens, logits, loss, and what of it is trained."""

import math

import pytest
import torch

import matching_statement as statement
import retrieval_toys
import toys
from side4video.core.errors import InputError
from side4video.engine.evaluate import evaluate
from side4video.engine.step import dry_run
from side4video.models.towers.tokenizer import TextTokenizer
from side4video.tasks.retrieval.spec import DualSoftmaxSpec, NoRescoring, QuerybankSpec, RetrievalSpec
from side4video.tasks.retrieval.text_video import LogitScale, Texts, TextVideo

BEGIN, END = 49406, 49407
"""The numbers of CLIP's own tokens."""
CLIPS = TextTokenizer({})
"""CLIP's own tokenizer."""
TEXTS = {"": 2, "a cat": 4, "🦀🚀 crabs": None, "word " * 2000: 12, "x" * 10_000: 12, "\n\t ": 2}
"""And how many tokens of each there are; an emoji is several."""


def task(kind=TextVideo, **fields):
    return kind(**{"words": 12, "tokenizer": CLIPS, "rescoring": NoRescoring(), "keep": "fp32", **fields})


# ---- tokens


@pytest.mark.parametrize("words", [3, 12, 32, 77])
def test_any_text_becomes_so_many_tokens_with_begin_and_end(words):
    check_tokens(task(words=words), words)


def check_tokens(task, words):
    tokens = task.tokenize(tuple(TEXTS))
    assert tokens.shape == (len(TEXTS), words)
    for text, row in zip(TEXTS, tokens.tolist(), strict=True):
        assert row[0] == BEGIN
        end = row.index(END)
        assert not any(row[end + 1 :]), text
        if TEXTS[text] is not None:
            assert end + 1 == (words if TEXTS[text] == 12 else min(TEXTS[text], words)), text


class CutsEndOff(TextVideo):
    def tokenize(self, captions):
        return CLIPS(list(captions), words=77)[:, : self.words]


def test_twin_that_cuts_the_end_off():
    with pytest.raises((AssertionError, ValueError)):
        check_tokens(task(CutsEndOff, words=12), 12)


def test_an_end_inside_a_text_is_its_end():
    tokens = task().tokenize(("a cat <end_of_text> a dog",))
    assert CLIPS.ends(tokens).tolist() == [tokens[0].tolist().index(END)] == [3]


def test_a_remembered_text_has_the_same_tokens():
    fresh, one = task(), task(cache_size=4)
    texts = tuple(f"{'text ' * (number % 5)}{number}" for number in range(30))
    whole = fresh.tokenize(texts)
    for number in (3, 7, 3, 20, 29, 7):
        assert torch.equal(one.tokenize(texts[: number + 1]), whole[: number + 1])
        assert torch.equal(one.tokenize((texts[number], texts[0], texts[number])), whole[[number, 0, number]])


def test_targets_say_whose_each_caption_is():
    batch = retrieval_toys.make_clips("targets", captions=[2, 0, 1])
    targets = task().targets(batch)
    assert targets.owners_Q.tolist() == [0, 0, 2]
    assert targets.captions == (*batch.captions[0], *batch.captions[2])
    assert torch.equal(targets.tokens_QW, task().tokenize(targets.captions))
    nothing = task().targets(retrieval_toys.make_clips("none", captions=[0, 0]))
    assert (nothing.owners_Q.dtype, nothing.tokens_QW.shape) == (torch.int64, (0, 12))


def test_mock_texts_are_as_long_as_they_may_be():
    mock = task().mock_targets(5, "cpu")
    assert mock.tokens_QW.shape == (5, 12)
    assert mock.tokens_QW.argmax(dim=1).tolist() == [11] * 5


# ---- logits and loss


def test_the_loss_is_both_directions_cross_entropy_summed_over_clips():
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 4
    own = Texts(torch.zeros(2, 12, dtype=torch.int64), torch.arange(2))
    assert float(task().loss(logits, own)) == pytest.approx(2 * float(statement.cross_entropies(logits)), rel=1e-12)
    one_way = 2 * torch.nn.functional.cross_entropy(logits, torch.arange(5))
    assert float(task().loss(logits, own)) != pytest.approx(float(one_way), rel=1e-3)


def test_the_scale_is_held_below_its_largest_and_its_gradient_is_not():
    for start, expected in ((math.log(50), 50.0), (math.log(100), 100.0), (7.0, 100.0)):
        scale = LogitScale(torch.tensor(start), 100.0)
        found = scale()
        found.backward()
        assert found.item() == pytest.approx(expected, rel=1e-5)
        assert scale.logarithm.grad.item() == pytest.approx(expected, rel=1e-5)


def outputs_of(student, batch):
    features = toys.make_pack(student).features_for([student], batch)
    return student.module(features, student.task.targets(batch))


def test_in_training_logits_are_scaled_similarities_and_in_evaluation_features_are_kept():
    student = retrieval_toys.make_student("a", "clip4clip-frozen")
    batch = retrieval_toys.make_clips(0, captions=[1] * 4)
    logits = outputs_of(student, batch)
    student.module.eval()
    texts, videos = outputs_of(student, batch)
    similarities = student.module.matching.compare(texts, videos)
    torch.testing.assert_close(logits, similarities * student.module.scale())
    assert student.module.scale().item() == pytest.approx(math.exp(2.6593), rel=1e-5)


def test_a_training_clip_without_a_caption_is_said():
    student = retrieval_toys.make_student("a")
    with pytest.raises(InputError, match=r"data\.dataset: .* 4 training clips with 3 captions"):
        outputs_of(student, retrieval_toys.make_clips(0, captions=[1, 0, 1, 1]))


# ---- evaluation


class Stream:
    def __init__(self, *batches):
        self.parts = batches

    def batches(self):
        yield from self.parts


RESCORINGS = {
    "none": {"rescoring": NoRescoring()},
    "dual-softmax": {"rescoring": DualSoftmaxSpec()},
    "querybank": {"rescoring": QuerybankSpec(captions=5)},
}


@pytest.mark.parametrize("rescoring", RESCORINGS)
@pytest.mark.parametrize("matching", retrieval_toys.MATCHINGS)
def test_an_evaluation_of_every_matching(matching, rescoring):
    """Batches of which one has no text, clips with none, one and several."""
    captions = tuple(retrieval_toys.caption("bank", number) for number in range(23))
    student = retrieval_toys.make_student(
        "a", "clip4clip-frozen", matching=matching, task=RESCORINGS[rescoring], captions=captions
    )
    batches = [
        retrieval_toys.make_clips(1, captions=[2, 1, 0]),
        retrieval_toys.make_clips(2, captions=[0, 0], first=3),
        retrieval_toys.make_clips(3, captions=[3], first=6),
    ]
    told = []
    found = evaluate(
        toys.make_pack(student),
        [student],
        Stream(*batches),
        videos=8,
        report_progress=lambda *words: told.append(words),
    )["a"]
    assert found.indices_V.tolist() == [0, 1, 2, 3, 4, 6]
    assert found.owners_N.tolist() == [0, 0, 1, 6, 6, 6]
    assert len(found.metrics) == (10 if rescoring == "none" else 20)
    assert math.isfinite(found.loss)
    assert told[-1] == ("comparing texts and videos", 2, 2)
    assert len(student.task.bank) == (5 if rescoring == "querybank" else 0)
    assert student.module.training


def test_features_kept_in_half_precision_rank_alike():
    found = {}
    for keep in ("fp32", "fp16"):
        student = retrieval_toys.make_student("a", task={"keep": keep})
        stream = retrieval_toys.TestStream()
        found[keep] = evaluate(toys.make_pack(student), [student], stream, videos=stream.videos)["a"]
    assert found["fp16"].loss == pytest.approx(found["fp32"].loss, rel=1e-3)
    assert found["fp16"].loss != found["fp32"].loss


# ---- what is trained


def trained(student):
    return {name for name, parameter in student.module.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("matching", ["mean", "weighted", "tight"])
def test_zero_shot_trains_nothing_and_steps_change_nothing(matching, precision):
    student = retrieval_toys.make_student("a", "zero-shot", matching=matching, precision=precision)
    assert student.trainable_parameters == 0
    before = toys.weights_of(student)
    pack = toys.make_pack(student)
    dry_run(pack, toys.make_batch(0).video_BTCHW)
    batch = retrieval_toys.make_clips(0, captions=[1] * 4)
    student.accumulate(
        pack.features_for([student], batch), student.task.targets(batch), clips=4, synchronize=True, draw=0
    )
    student.update(1e-2)
    assert toys.same(before, toys.weights_of(student))


@pytest.mark.parametrize("method", ["side4video", "clip4clip-frozen", "clip4clip", "zero-shot"])
@pytest.mark.parametrize("text", ["as-authors", "trained", "frozen"])
def test_who_trains_the_text_tower(method, text):
    names = trained(retrieval_toys.make_student("a", method, task={"text": text}))
    expected = {"as-authors": method != "zero-shot", "trained": True, "frozen": False}[text]
    assert any(name.startswith("network.text.transformer.transformer.") for name in names) == expected
    assert ("scale.logarithm" in names) == expected
    embeddings = {f"network.text.transformer.{name}" for name in ("token_embedding.weight", "positional_embedding")}
    assert embeddings & names == (embeddings if expected and method != "clip4clip" else set())


@pytest.mark.parametrize("matching", retrieval_toys.MATCHINGS)
@pytest.mark.parametrize("method", ["side4video", "clip4clip-frozen-sequence", "clip4clip"])
def test_everything_that_is_trained_has_a_gradient(method, matching):
    """What has none would stop several workers, who wait for each other's."""
    student = retrieval_toys.make_student("a", method, matching=matching)
    batch = retrieval_toys.make_clips(0, captions=[1] * 4)
    student.task.loss(outputs_of(student, batch), student.task.targets(batch)).backward()
    without = [name for name, p in student.module.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert not any(p.grad is not None for p in student.module.parameters() if not p.requires_grad)


def test_the_bank_is_spread_over_the_training_captions():
    captions = [str(number) for number in range(10)]
    assert QuerybankSpec(captions=4).select(captions) == ("0", "2", "5", "7")
    assert QuerybankSpec(captions=40).select(captions) == tuple(captions)
    assert QuerybankSpec().select([]) == ()


def test_the_document_has_its_defaults():
    spec = RetrievalSpec()
    assert (spec.words, spec.matching.kind, spec.matching.weighted, spec.text) == (32, "token-wise", True, "as-authors")
