"""Retrieval on several workers: the same evaluation to the bit, and the loss and gradients of the joined batch."""

import json

import pytest
import torch

from workers import run_workers

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(300)]

EVALUATE = """
import retrieval_toys, toys
from side4video.engine.evaluate import evaluate
from side4video.engine.process_group import ProcessGroup
from side4video.tasks.retrieval import pair_scores
from side4video.tasks.retrieval import ranking

ranking.Search.chunk = 5
bank = tuple(retrieval_toys.caption("bank", number) for number in range(9))
own = folder / str(rank)
own.mkdir(exist_ok=True)


def measured(matching, rescoring, videos):
    task = {"rescoring": {"kind": rescoring}}
    student = retrieval_toys.make_student("a", matching=matching, process=process, captions=bank, task=task)
    stream = retrieval_toys.TestStream(process, videos=videos)
    found = evaluate(toys.make_pack(student), [student], stream, videos=videos)["a"]
    found.write(own)
    return {
        "metrics": found.metrics,
        "loss": found.loss.hex(),
        "predictions": (own / "predictions.csv").read_text(),
        "ranks": [found.texts_N.tolist(), found.videos_V.tolist(), found.indices_V.tolist()],
        "share": len(stream.parts),
    }


# With 19 videos the shares differ; with 6, one worker of three has none.
answers = {
    f"{matching} {rescoring} {videos}": measured(matching, rescoring, videos)
    for rescoring in ("dual-softmax", "querybank")
    for matching in ("weighted", "tight")
    for videos in (19, 6)
}
gather = ProcessGroup.gather
ProcessGroup.gather = lambda self, value: [value] if isinstance(value, torch.Tensor) else gather(self, value)
answers["twin: each counts for itself"] = measured("weighted", "dual-softmax", 19)
ProcessGroup.gather = gather
pair_scores.sorted = lambda parts, key: list(parts)
answers["twin: as they come"] = measured("weighted", "dual-softmax", 19)
(folder / f"answers-{world}-{rank}.json").write_text(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory):
    """What each worker of one, of two and of three answers."""
    found = {}
    for world in (1, 2, 3):
        folder = tmp_path_factory.mktemp(f"workers-{world}")
        run_workers(world, folder, EVALUATE)
        found[world] = [json.loads((folder / f"answers-{world}-{rank}.json").read_text()) for rank in range(world)]
    return found


def answers_of(evaluations, world):
    """What all its workers answer, but for how much each had to do."""
    keys = ("metrics", "loss", "predictions", "ranks")
    return [
        {case: {key: facts[key] for key in keys} for case, facts in answer.items()} for answer in evaluations[world]
    ]


def test_any_number_of_workers_gives_the_same_evaluation(evaluations):
    """Metrics, ranks, loss and predictions, to the bit, on every worker."""
    (one,) = answers_of(evaluations, 1)
    for world in (2, 3):
        for answer in answers_of(evaluations, world):
            for case, facts in one.items():
                assert case.startswith("twin") or answer[case] == facts, case


def test_videos_are_shared_out_unequally(evaluations):
    for case, expected in (("tight querybank 19", [2, 2, 1]), ("tight querybank 6", [1, 1, 0])):
        assert [answer[case]["share"] for answer in evaluations[3]] == expected


def test_the_evaluations_are_worth_comparing(evaluations):
    for case, facts in evaluations[1][0].items():
        assert len(facts["metrics"]) == 20
        assert facts["predictions"].count("\n") == len(facts["ranks"][0]) + 1 > 8, case
    first, second = (evaluations[1][0][f"{matching} querybank 19"] for matching in ("weighted", "tight"))
    assert first["metrics"] != second["metrics"]
    assert first["predictions"] != second["predictions"]


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("twin", ["twin: each counts for itself", "twin: as they come"])
def test_twins_of_the_evaluation(evaluations, twin, world):
    (one,) = answers_of(evaluations, 1)
    assert one[twin] == one["weighted dual-softmax 19"]
    for answer in answers_of(evaluations, world):
        assert answer[twin] != one[twin]


# ---- training

TRAIN = """
import retrieval_toys, toys
from oracle import perturb
from side4video.engine import process_group
from side4video.models.layers.drop_path import DropPath
from side4video.models.layers.norm import TokenBatchNorm
from side4video.models.networks import ts2_net
from side4video.tasks.retrieval import text_video

CASES = [("side4video", "mean"), ("side4video", "weighted"), ("side4video", "zero"), ("clip4clip", "mean")]
CASES.append(("clip4clip-frozen-sequence", "tight"))
CASES += [("clip2video", "temporal-alignment"), ("cap4video", "described"), ("ts2-net", "query-weighted")]
CASES.append(("stan-trained", "plain mean"))
SHARES = {1: [slice(0, 5)], 2: [slice(0, 3), slice(3, 5)]}


def plain(rows, process):
    return process_group._GatherRows.apply(rows, process.rank, process.world).detach()


class LocalSlice(torch.autograd.Function):
    # As in the authors' code: a worker's rows get the gradient of its own share of the loss.
    @staticmethod
    def forward(ctx, rows, rank, world):
        counts = [torch.empty(1, dtype=torch.int64) for _ in range(world)]
        distributed.all_gather(counts, torch.tensor([len(rows)]))
        ctx.first, ctx.count = int(sum(counts[:rank])), len(rows)
        return process_group._GatherRows.apply(rows, rank, world)

    @staticmethod
    def backward(ctx, gradient):
        return gradient[ctx.first : ctx.first + ctx.count], None, None


def unweighed(self, logits_GG, targets):
    return loss(self, logits_GG, targets) / len(targets.tokens_QW) * (clips / world)


# The noise of a selection is a worker's own, too: here it is the same for each frame.
noise_JP = torch.randn(20, 4, generator=torch.Generator().manual_seed(5))
select = ts2_net.noisy_best_places
ts2_net.noisy_best_places = lambda scores_RP, count: select(
    scores_RP, count, noise_JP[:, None].expand(-1, len(scores_RP), -1)
)
loss, clips = text_video.TextVideo.loss, 5
honest = text_video.gather_rows
twins = {
    "honest": (honest, loss),
    "without gradients": (lambda rows, process: plain(rows, process) if world > 1 else rows, loss),
    "local slice": (
        lambda rows, process: LocalSlice.apply(rows, process.rank, process.world) if world > 1 else rows, loss
    ),
    "unweighed": (honest, unweighed),
}
video = toys.make_batch(0, size=clips).video_BTCHW[SHARES[world][rank]]
whole = retrieval_toys.make_clips(0, captions=[1] * clips)
captions, descriptions = (each[SHARES[world][rank]] for each in (whole.captions, whole.descriptions))
answers = {}
for method, matching in CASES:
    for twin, (gathering, summed) in twins.items():
        text_video.gather_rows, text_video.TextVideo.loss = gathering, summed
        student = retrieval_toys.make_student("a", method, matching=matching, process=process)
        perturb(student.module, seed=3, by=0.05)
        for part in student.module.modules():
            # Batch statistics are another matter (test_synchronised_norms); dropout is of one worker's own.
            if isinstance(part, (TokenBatchNorm, torch.nn.Dropout, DropPath)):
                part.eval()
        batch = retrieval_toys.make_clips(0, captions=[1] * len(video))
        batch.video_BTCHW, batch.captions, batch.descriptions = video, captions, descriptions
        features = toys.make_pack(student).features_for([student], batch)
        found = student.accumulate(features, student.task.targets(batch), clips=clips, synchronize=True, draw=0)
        answers[f"{method} {matching} {twin}"] = {
            "loss": found / len(video),
            "gradients": {
                name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                for name, parameter in student.module.named_parameters()
                if parameter.requires_grad and "token_embedding" not in name
            },
        }
torch.save(answers, folder / f"answers-{world}-{rank}.pt")
"""
CASES = [
    "side4video mean",
    "side4video weighted",
    "side4video zero",
    "clip4clip-frozen-sequence tight",
    "clip4clip mean",
    "clip2video temporal-alignment",
    "cap4video described",
    "ts2-net query-weighted",
    "stan-trained plain mean",
]


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """Loss and gradients of one worker with five clips, and of two with three and two of them."""
    folder, found = tmp_path_factory.mktemp("steps"), {}
    for world in (1, 2):
        run_workers(world, folder, TRAIN)
        found[world] = [torch.load(folder / f"answers-{world}-{rank}.pt") for rank in range(world)]
    return found


def distances(steps, case, twin="honest"):
    """Of the loss, and of each tensor's gradient over its largest value, on the worker that is further off."""
    one = steps[1][0][f"{case} honest"]
    largest = max(float(tensor.abs().max()) for tensor in one["gradients"].values())
    found = {}
    for worker in steps[2]:
        answer = worker[f"{case} {twin}"]
        assert answer["gradients"].keys() == one["gradients"].keys()
        for name, tensor in one["gradients"].items():
            # A constant beside all similarities has no gradient but rounding: it is measured against the others'.
            scale = max(float(tensor.abs().max()), 0.02 * largest)
            error = float((answer["gradients"][name] - tensor).abs().max()) / scale
            found[name] = max(found.get(name, 0.0), error)
        error = abs(float(answer["loss"] - one["loss"])) / float(one["loss"])
        found["loss"] = max(found.get("loss", 0.0), error)
    return found


@pytest.mark.parametrize("case", CASES)
def test_two_workers_with_unequal_shares_take_the_step_of_the_joined_batch(steps, case):
    found = distances(steps, case)
    assert max(found.values()) < 2e-4, {name: error for name, error in found.items() if error > 1e-4}
    assert found["loss"] < 1e-6
    # Both sides, what compares them, and the scale are among what was compared.
    parts = {".video.", ".text.", "scale."} if "tight" not in case else {".video.", ".text.", "matching."}
    parts |= {"scorer."} if case.split()[1] in ("weighted", "zero") else set()
    for part in parts:
        assert any(part in name for name in found), part


@pytest.mark.parametrize("twin", ["without gradients", "local slice", "unweighed"])
@pytest.mark.parametrize("case", CASES)
def test_twins_of_the_step(steps, case, twin):
    found = distances(steps, case, twin)
    for side in (".text.", ".video."):
        assert max(error for name, error in found.items() if side in name) > 1e-2
