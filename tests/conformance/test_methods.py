"""What every method promises of its tensors: frozen ones never change, trained ones do, and no others are written."""

import dataclasses

import pytest
import torch
from pydantic_core import PydanticCustomError

import toys
from side4video.core.errors import InputError
from side4video.core.progress import MessageProgress
from side4video.engine.memory import measure_held, weights_under
from side4video.engine.step import Plan, dry_run, train_step
from side4video.engine.step_timer import StepTimer
from side4video.models.frozen_features import frozen_features
from side4video.spec.check import check_pack
from tiny import tiny

PLAN = Plan(steps=7, steps_per_epoch=toys.STEPS_PER_EPOCH)
UNREACHED = {
    # What the last adapter in front of an MLP changes are patches, and the head reads [CLS].
    "st-adapter": ["network.before_perceptron.3."],
    "st-adapter-both": ["network.before_perceptron.3."],
    # Nobody reads what the last stage gives to the temporal branch (DiST's own release has it too).
    "dist": ["network.stages.3.to_temporal."],
}
ALONE = (
    *("st-adapter", "st-adapter-both", "aim", "full"),
    *("text4vis", "atm", "uniformerv2", "uniformerv2-kinetics"),
)


def bits(tensors):
    return {name: tensor.clone() for name, tensor in tensors}


def three_steps(student, spoil=lambda: None, *, family="clip"):
    pack, timer = toys.make_pack(student, family=family), StepTimer(torch.device("cpu"))
    (batch,) = next(iter(toys.ToyStream().batches(0)))
    for step in range(3):
        train_step(pack, [batch], step=step, plan=PLAN, timer=timer)
        spoil()


def make(method, family="clip", classifier="linear", **optimization):
    method = toys.METHODS[method]
    return toys.make_student("a", method, family=family, classifier=classifier, weight_decay=0.0, **optimization)


def tower_of(student, family="clip"):
    borrowed = getattr(student.module.network, "borrowed", None)
    return toys.toy_tower(family=family) if borrowed is None else borrowed.tower


def frozen_tensors(student, family="clip"):
    own = [(name, p) for name, p in student.module.named_parameters() if not p.requires_grad]
    return [*tower_of(student, family).named_parameters(), *own]


def unmoved(student, before):
    """Trained tensors that are what they were."""
    return {
        name
        for name, parameter in student.module.named_parameters()
        if parameter.requires_grad and torch.equal(before[name], parameter)
    }


def is_unreached(name, method):
    return any(name.startswith(prefix) for prefix in UNREACHED.get(method, []))


def untrained(student):
    return {name for name, parameter in student.module.named_parameters() if not parameter.requires_grad}


def without_gradient(student, family="clip"):
    """Trained tensors that a backward leaves without a gradient."""
    batch = toys.make_batch(0)
    features = toys.make_pack(student, family=family).features_for([student], batch)
    student.task.loss(student.module(features), batch.labels_B).backward()
    return {name for name, p in student.module.named_parameters() if p.requires_grad and p.grad is None}


@pytest.mark.parametrize(("method", "family", "classifier"), toys.TASKS)
def test_trained_tensors_move_and_frozen_ones_do_not(method, family, classifier):
    student = make(method, family, classifier)
    trained, frozen = bits(student.module.named_parameters()), bits(frozen_tensors(student, family))
    three_steps(student, family=family)
    assert toys.same(frozen, dict(frozen_tensors(student, family)))
    expected = {name for name in trained if is_unreached(name, method)}
    assert unmoved(student, trained) == expected


@pytest.mark.parametrize(("method", "family", "classifier"), toys.TASKS)
def test_what_is_trained_is_what_the_method_declares(method, family, classifier):
    """All that is its own, but for what it took over with the tower and does not use; never a frozen tower."""
    student = make(method, family, classifier)
    visual = "network.trunk.visual."
    names = dict(toys.toy_tower(family=family).trunk.visual.named_parameters()).keys()
    unused = toys.NOT_TRAINED.get(method, set()) & names
    assert untrained(student) == {visual + name for name in unused}
    assert not any(parameter.requires_grad for parameter in tower_of(student, family).parameters())


def test_twin_that_forgets_to_train_a_tensor():
    student = make("side4video")
    student.module.network.spatial_PD.requires_grad_(False)
    assert untrained(student) == {"network.spatial_PD"}


@pytest.mark.parametrize(("method", "family", "classifier"), toys.TASKS)
def test_every_trained_tensor_is_in_the_graph(method, family, classifier):
    """With several workers, the gradient of one that is not would be waited for in vain."""
    assert without_gradient(make(method, family, classifier), family) == set()


def test_twin_with_a_tensor_beside_the_graph():
    student = make("lst")
    student.module.network.idle = torch.nn.Parameter(torch.ones(2))
    assert without_gradient(student) == {"network.idle"}


def test_twin_that_changes_the_tower():
    student = toys.make_student("a", toys.METHODS["aim"])
    frozen = bits(frozen_tensors(student))

    def spoil():
        with torch.no_grad():
            tower_of(student).trunk.visual.ln_post.bias.add_(1e-7)

    three_steps(student, spoil)
    assert not toys.same(frozen, dict(frozen_tensors(student)))


def test_twin_that_trains_a_tensor_nobody_uses():
    student = make("aim")
    student.module.network.idle = torch.nn.Parameter(torch.ones(2))
    trained = bits(student.module.named_parameters())
    three_steps(student)
    assert unmoved(student, trained) == {"network.idle"}


@pytest.mark.parametrize(("method", "family", "classifier"), toys.TASKS)
def test_the_document_knows_the_width_of_the_features(method, family, classifier):
    student = make(method, family, classifier)
    features = toys.make_pack(student, family=family).features_for([student], toys.make_batch(0))
    width = toys.METHODS[method].output_dim(toys.toy_tower(family=family).shape)
    assert student.module.network(features).shape == (toys.BATCH, width)
    assert student.module.network.output_dim == width
    assert student.module(features).shape == (toys.BATCH, len(toys.CLASSES))


def test_twin_that_gives_features_of_another_width_than_it_says():
    student = make("linear")
    student.module.network.forward = lambda features: features.pooled_BTD.flatten(1)
    features = toys.make_pack(student).features_for([student], toys.make_batch(0))
    assert student.module.network(features).shape != (toys.BATCH, student.module.network.output_dim)


@pytest.mark.parametrize(("method", "family"), toys.REFUSED)
def test_a_tower_that_cannot_serve_a_method_is_refused(method, family):
    shape = toys.toy_tower(family=family).shape
    with pytest.raises(PydanticCustomError) as error:
        toys.METHODS[method].reads(shape, frames=toys.FRAMES)
    message = str(error.value)
    assert method in message
    assert "CLIP's towers" in message


@pytest.mark.parametrize(("method", "family"), toys.REFUSED)
def test_twin_whose_tower_claims_plain_attention(method, family):
    """Nothing refuses it, and it breaks only when it is built or run."""
    tower = toys.new_tower(family=family)
    tower.shape = dataclasses.replace(tower.shape, plain_attention=True, post_norm=False)
    spec = toys.METHODS[method]
    reads = spec.reads(tower.shape, frames=toys.FRAMES)
    with pytest.raises((NotImplementedError, AttributeError)):
        spec.build(tower, frames=toys.FRAMES)(frozen_features(tower, toys.make_batch(0).video_BTCHW, reads))


@pytest.mark.parametrize("model", ["EVA02-E-14", "EVA02-B-16"])
@pytest.mark.parametrize("method", ["aim", "evl"])
def test_a_document_with_such_a_tower_is_refused(method, model):
    backbone = {"kind": "open-clip", "model": model, "weights": {"kind": "random", "seed": 0}}
    with pytest.raises(InputError, match=r"method\.kind"):
        tiny(backbone=backbone, method={"kind": method}, data={"size": 224})
    tiny(backbone=backbone, method={"kind": "st-adapter"}, data={"size": 224})


@pytest.mark.parametrize("method", toys.METHODS)
def test_which_methods_train_alone(method):
    spec = toys.METHODS[method]
    assert spec.packable == (method not in ALONE)
    reads = spec.reads(toys.toy_tower().shape, frames=toys.FRAMES)
    assert bool(reads.tokens or reads.pooled or reads.class_token or reads.attention) == spec.packable


@pytest.mark.parametrize("method", ["st-adapter", "aim"])
def test_a_borrowed_tower_is_neither_trained_nor_written(method):
    student = toys.make_student("a", toys.METHODS[method], average={"kind": "moving-average"})
    tower = {parameter.data_ptr() for parameter in tower_of(student).parameters()}
    assert not tower & {parameter.data_ptr() for parameter in student.module.parameters()}
    assert not any("borrowed" in name or "trunk" in name for name in student.module.state_dict())
    assert student.average.module.network.borrowed is student.module.network.borrowed


def test_the_weights_of_a_borrowed_tower_are_not_held_for_backward():
    """What backward keeps of the frozen matrices is the matrices, which are there anyway."""
    student = make("aim")
    batch = toys.make_batch(0)
    features = toys.make_pack(student).features_for([student], batch)
    held = []
    for excluded in (weights_under(student.module), student.module.parameters()):
        with measure_held(excluded) as seen:
            student.module(features)
        held.append(seen.total)
    matrices = sum(p.numel() * 4 for p in tower_of(student).parameters() if p.ndim == 2)
    assert held[1] - held[0] > 0.5 * matrices
    assert dry_run(toys.make_pack(student), batch.video_BTCHW)["a"] == held[0] + head_holds(student, features)


def head_holds(student, features):
    """The loss keeps the logits' softmax; the head's own input was counted with the network's output."""
    outputs = student.module(features)
    with measure_held([outputs]) as seen:
        student.task.loss(outputs, torch.zeros(len(outputs), dtype=torch.int64))
    return seen.total


def test_a_pack_with_a_method_of_its_own_tower_is_refused():
    alone, reader = tiny(method={"kind": "aim"}), tiny(method={"kind": "linear"})
    with pytest.raises(InputError, match="aim changes the tower") as error:
        check_pack({"one": alone, "two": reader})
    assert "one: method.kind" in str(error.value)
    assert "run it alone" in str(error.value)
    check_pack({"one": alone})
    check_pack({"one": reader, "two": reader})


def enter_launch(experiments, folder):
    from side4video.runs.launch import launch

    launch(experiments, progress=MessageProgress(print))


def enter_run(experiments, folder):
    from side4video.engine.process_group import ProcessGroup
    from side4video.run import RunContext, run

    run(experiments, RunContext(ProcessGroup(), folder, print))


def enter_evaluation(experiments, folder):
    from side4video.engine.process_group import ProcessGroup
    from side4video.run import evaluate_students

    evaluate_students(experiments, {}, ProcessGroup())


@pytest.mark.parametrize("enter", [enter_launch, enter_run, enter_evaluation])
def test_every_way_in_refuses_it(enter, tmp_path):
    experiments = {"one": tiny(method={"kind": "full"}), "two": tiny(method={"kind": "linear"})}
    with pytest.raises(InputError, match="full changes the tower"):
        enter(experiments, tmp_path)
