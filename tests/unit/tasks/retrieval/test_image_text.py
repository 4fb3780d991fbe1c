"""The loss of BLIP's matching against an independent float64 statement; its queue, negatives, and documents."""

import dataclasses

import pytest
import torch

import blip_statement as statement
import blip_toys
import oracle
import retrieval_toys
import toys
from side4video.core.errors import InputError
from side4video.core.seeds import seeded
from side4video.engine.step import dry_run
from side4video.models.networks.contract import Pairs
from side4video.tasks.context import TaskContext
from side4video.tasks.retrieval.image_text import NO_CLIP, FeatureQueue, with_hard_negatives
from side4video.tasks.retrieval.spec import RetrievalSpec
from side4video.tasks.retrieval.text_video import Texts
from tiny import tiny

QUEUE, SHARE = 5, 0.4


def assemble(*, batch=3, frames=2):
    """Task, module in training, and a batch, in which the second clip is one of the queue too."""
    tower, _, features = blip_toys.build(batch=batch, frames=frames)
    context = TaskContext(
        method=blip_toys.SPEC,
        tower=tower,
        frames=frames,
        classes=(),
        encode_texts=lambda texts: pytest.fail(f"{texts} are to be classes"),
        text_tower=blip_toys.text_tower,
    )
    document = {"matching": {"kind": "image-text-matching", "queue": QUEUE, "soft_labels": SHARE}}
    with seeded(3):
        task, module = RetrievalSpec.model_validate(document).assemble(context)
    network = module.network
    for part in (network.trained, network.added_keys, network.added_values, network.matching_head):
        oracle.perturb(part, seed=5)
    module.queue.clips_K[2] = 1
    targets = Texts(blip_toys.tokens()[:batch], torch.arange(batch), clips_B=torch.arange(batch))
    return tower, task, module, features, targets


def truth(tower, module, features, targets, *, twin=""):
    """The loss, after the momentum encoder has moved, and the state whose gradients it has."""
    network = module.network
    state, words = oracle.double(network, trains=True), oracle.double(network, trains=False)
    vision = oracle.double(tower.trunk.visual, trains=False)
    with torch.no_grad():
        for name in [name for name in state if name.startswith("momentum.")]:
            own = state[name.replace("momentum.", "trained.")]
            state[name] = own if twin == "no momentum" else 0.995 * state[name] + 0.005 * own
    sizes = {"depth": tower.shape.depth, "heads": tower.shape.heads, "scale": blip_toys.SPEC.scale}
    video, tokens_QW = tower.normalise(features.video_BTCHW).double(), targets.tokens_QW
    videos, texts, seen = statement.features(video, tokens_QW, vision, words, state, **sizes)
    with torch.no_grad():
        slow = statement.features(video, tokens_QW, vision, words, state, parts="momentum", **sizes)[:2]
    queue = tuple(each.double() for each in (module.queue.videos_KE, module.queue.texts_KE))
    columns_K = torch.cat([targets.clips_B, module.queue.clips_K])
    same_BK = targets.clips_B[:, None] == columns_K
    if twin == "queue without clips":
        same_BK[:, len(targets.clips_B) :] = False
    clips = len(videos)
    # The draws of the module: the next ones of torch's generator, for the cosines of this batch.
    rows = Pairs(tokens_QW, torch.arange(clips), torch.zeros(clips, 1, 1))
    with seeded(11):
        chosen = with_hard_negatives(rows, (texts.detach() @ videos.detach().T / 0.07).float())
    logits = [
        statement.pair(tokens, seen[row], words, state, **sizes)
        for tokens, row in zip(chosen.tokens_XW, chosen.videos_X.tolist(), strict=True)
    ]
    share = 0.0 if twin == "hard labels" else SHARE
    found = statement.loss((videos, texts), slow, queue, same_BK=same_BK, pairs=torch.stack(logits), share=share)
    return found, state


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_the_loss_and_its_gradients_equal_the_statement(batch):
    tower, task, module, features, targets = assemble(batch=batch)
    expected, state = truth(tower, module, features, targets)
    with seeded(11):
        loss = task.loss(module.train()(features, targets), targets)
    assert float(loss.detach()) / batch == pytest.approx(float(expected.detach()), rel=1e-5)
    oracle.assert_equal(loss / batch, expected, module.network, state)


@pytest.mark.parametrize("twin", ["no momentum", "queue without clips", "hard labels"])
def test_the_statement_tells_twins_apart(twin):
    tower, task, module, features, targets = assemble()
    expected, _ = truth(tower, module, features, targets, twin=twin)
    with seeded(11):
        loss = task.loss(module.train()(features, targets), targets) / 3
    assert abs(float(loss.detach()) - float(expected.detach())) > 1e-4


def test_the_queue_takes_the_momentum_encoders_features():
    _, _, module, features, targets = assemble()
    before = module.queue.videos_KE.clone()
    module.train()(features, targets)
    with torch.no_grad():
        frames_BTE = module.network.project(module.network.see(features, with_momentum=True), with_momentum=True)
        expected = torch.nn.functional.normalize(frames_BTE.mean(1), dim=-1)
    torch.testing.assert_close(module.queue.videos_KE[:3], expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(module.queue.videos_KE[3:], before[:2])
    assert module.queue.clips_K.tolist() == [0, 1, 2, NO_CLIP, NO_CLIP]


def test_a_queue_keeps_the_newest_rows():
    queue = FeatureQueue(4, 2)
    rows = torch.randn(6, 2)
    for number in range(2):
        part = slice(3 * number, 3 * number + 3)
        queue.keep(*queue.behind(rows[part], -rows[part], torch.arange(6)[part]))
    assert queue.clips_K.tolist() == [3, 4, 5, 0]
    assert torch.equal(queue.videos_KE, rows[[3, 4, 5, 0]])
    queue.keep(*queue.behind(rows, -rows, torch.arange(6)))  # a batch larger than the queue
    assert queue.clips_K.tolist() == [0, 1, 2, 3]
    assert torch.equal(queue.texts_KE, -rows[:4])


def test_negatives_are_others_and_hard_ones_are_likely():
    logits_BB = torch.tensor([[9.0, 5.0, 0.0], [1.0, 9.0, 0.0], [0.0, 8.0, 9.0]])
    pairs = Pairs(torch.arange(3)[:, None], torch.arange(3), torch.zeros(3, 1, 1))
    counts = torch.zeros(3, 3), torch.zeros(3, 3)
    with seeded(0):
        for _ in range(300):
            found = with_hard_negatives(pairs, logits_BB)
            texts, videos = found.tokens_XW[:, 0], found.videos_X
            assert texts[:6].tolist() == [0, 1, 2] * 2
            assert videos[:3].tolist() == videos[6:].tolist() == [0, 1, 2]
            counts[0][texts[3:6], videos[3:6]] += 1
            counts[1][texts[6:], videos[6:]] += 1
    for each in counts:
        assert each.diagonal().sum() == 0
    assert counts[0][0].tolist() == pytest.approx([0, 298, 2], abs=5)
    assert counts[0][1].tolist() == pytest.approx([219, 0, 81], abs=30)  # exp(1) to 1
    assert counts[1][:, 1].tolist() == pytest.approx([14, 0, 286], abs=14)  # exp(5) to exp(8)


def test_one_clip_alone_has_no_negatives():
    pairs = Pairs(torch.ones(1, 4), torch.zeros(1), torch.zeros(1, 1, 1))
    assert with_hard_negatives(pairs, torch.ones(1, 1)) is pairs


def test_a_dry_run_changes_neither_queue_nor_momentum():
    student = retrieval_toys.make_student("a", "uniadapter-blip", matching="image-text")
    oracle.perturb(student.module.network.trained, seed=1)  # as after a restart
    before = {name: tensor.clone() for name, tensor in student.module.state_dict().items()}
    dry_run(toys.make_pack(student), toys.make_batch(0).video_BTCHW)
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.module.state_dict().items())


@torch.no_grad()
def test_frames_that_fill_up_a_short_video_count_in_neither_score():
    _, _, module, features, targets = assemble(frames=3)
    mask_BT = torch.tensor([[True, True, False], [True] * 3, [True] * 3])
    masked = dataclasses.replace(features, frame_mask_BT=mask_BT)
    cut = dataclasses.replace(features, video_BTCHW=features.video_BTCHW[:1, :2])
    module.eval()
    (texts_QE, tokens_QW), found = module(masked, targets)
    _, (video_BE, seen_BSD) = module(cut, targets)
    torch.testing.assert_close(found[0][:1], video_BE, rtol=1e-5, atol=1e-6)
    scores = module.score_pairs(tokens_QW, tuple(each[:1] for each in found))
    torch.testing.assert_close(scores, module.score_pairs(tokens_QW, (video_BE, seen_BSD)), rtol=1e-5, atol=1e-6)
    without = module.score_pairs(tokens_QW, tuple(each[:1] for each in found[:2]))  # twin
    assert not torch.allclose(scores, without, atol=1e-4)
    assert texts_QE.shape == (3, 10)


def test_adapters_projections_and_the_head_are_trained_and_nothing_else():
    student = retrieval_toys.make_student("a", "uniadapter-blip", matching="image-text")
    trained = {name for name, each in student.module.named_parameters() if each.requires_grad}
    first = ("network.trained.", "network.added_keys.", "network.added_values.", "network.matching_head.")
    assert trained == {name for name, _ in student.module.named_parameters() if name.startswith(first)}
    frozen = {name: each.clone() for name, each in student.module.named_parameters() if name not in trained}
    tower = student.module.network.borrowed.tower
    image = [each.clone() for each in tower.parameters()]
    batch = retrieval_toys.make_clips(0, captions=[1] * 4)
    features = toys.make_pack(student).features_for([student], batch)
    student.accumulate(features, student.task.targets(batch), clips=4, synchronize=True, draw=0)
    student.update(1e-2)
    after = dict(student.module.named_parameters())
    assert all(torch.equal(each, after[name]) for name, each in frozen.items())
    assert all(torch.equal(*pair) for pair in zip(image, tower.parameters(), strict=True))
    assert "scale.logarithm" in frozen


TASK = {"kind": "retrieval", "matching": {"kind": "image-text-matching"}}
BACKBONE = blip_toys.document(image_size=32, patch_size=8)


def document(**changed):
    return tiny(**{"task": TASK, "backbone": BACKBONE, "method": {"kind": "uniadapter-blip"}, **changed})


def test_a_document():
    spec = document()
    assert (spec.task.matching.candidates, spec.task.matching.queue) == (128, 57_600)
    assert (spec.task.matching.momentum, spec.task.matching.soft_labels) == (0.995, 0.4)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"method": {"kind": "linear"}, "task": {"kind": "recognition"}},
            r"method\.kind: linear, and the backbone is blip",
        ),
        ({"method": {"kind": "uniadapter"}}, r"method\.kind: uniadapter, and the backbone is blip"),
        (
            {"backbone": {"kind": "vit", "weights": {"kind": "random"}, "text": {"kind": "transformer"}}},
            r"method\.kind: uniadapter-blip, and the backbone is vit · allowed: blip for uniadapter-blip",
        ),
        ({"task": {"kind": "recognition"}}, r"method\.kind: uniadapter-blip, and the task is recognition"),
        ({"task": {"kind": "retrieval"}}, r"task\.matching\.kind: token-wise, and the method is uniadapter-blip"),
        ({"task": {**TASK, "loss": "sigmoid"}}, r"task\.loss: sigmoid, and the matching is image-text-matching"),
        ({"task": {**TASK, "rescoring": {"kind": "dual-softmax"}}}, r"task\.rescoring: dual-softmax, and the matching"),
        ({"task": {**TASK, "text": "trained"}}, r"task\.text: trained, and the matching"),
        ({"backbone": {**BACKBONE, "image_size": 30}}, r"backbone\.image_size: 30, and the patches of BLIP have 8"),
        ({"backbone": {**BACKBONE, "width": 20}}, r"backbone\.width: 20, which is not a multiple of head_width 8"),
        (
            {"backbone": {**BACKBONE, "weights": {"kind": "pretrained", "tag": "openai"}}},
            r"backbone\.weights\.tag: 'openai' · allowed: coco, flickr",
        ),
        ({"features": {"kind": "cached"}}, r"features\.kind: cached, and the method uniadapter-blip changes the tower"),
    ],
)
def test_documents_that_do_not_fit_give_one_line(changed, message):
    with pytest.raises(InputError, match=message):
        document(**changed)
