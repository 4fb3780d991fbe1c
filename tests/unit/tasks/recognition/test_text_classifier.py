"""Classifiers made of the classes' names: their numbers are open_clip's, nothing of them is trained."""

import math
import shutil

import pytest
import torch
from open_clip import get_tokenizer
from open_clip.model import CLIP, CustomTextCLIP

from side4video.core.errors import InputError
from side4video.engine.process_group import ProcessGroup
from side4video.models.backbones import open_clip as backbone_module
from side4video.models.backbones.open_clip import OpenCLIPSpec
from side4video.models.backbones.weights import FileWeights, RandomWeights
from side4video.models.towers.text_tower import TextFeatures, encode_texts
from side4video.planning.meta_model import build_meta_model
from side4video.planning.plan import plan_experiment
from side4video.run import RunContext, build_student, evaluate_students, run
from side4video.spec.check import check_files
from side4video.tasks.recognition.classification import Classification, TextHead
from side4video.tasks.recognition.spec import RecognitionSpec
from tiny import tiny

TEXTS = ["pushing something from left to right", "a clip of a cat", "Clockwise!"]
CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
QUICK = CONFIG | {"quick_gelu": True}
BACKBONE = {"kind": "open-clip", "model": "ViT-B-32", "weights": {"kind": "random", "seed": 2}, "precision": "fp32"}
CLASSIFIER = {"classifier": {"kind": "text", "prompt": "a clip of {}"}}


@pytest.fixture
def small_models(monkeypatch):
    """Every open_clip model has the sizes of `CONFIG`."""
    monkeypatch.setattr(backbone_module, "read_config", lambda _: CONFIG)


def make_clip(kind=CLIP, config=CONFIG):
    torch.manual_seed(0)
    model = kind(**config).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return model


def saved(state, path):
    torch.save(state, path)
    return FileWeights(path=str(path))


def encode(weights, config=CONFIG, texts=TEXTS, device="cpu"):
    return encode_texts(config, texts, weights=weights, model="ViT-B-32", device=device)


# ---- the features


@pytest.mark.parametrize("config", [CONFIG, QUICK], ids=["gelu", "quick gelu"])
@pytest.mark.parametrize("kind", [CLIP, CustomTextCLIP])
def test_features_are_open_clips_own(kind, config, tmp_path):
    model = make_clip(kind, config)
    found = encode(saved(model.state_dict(), tmp_path / "clip.pt"), config)
    with torch.no_grad():
        expected = model.encode_text(get_tokenizer("ViT-B-32")(TEXTS))
    torch.testing.assert_close(found.features_CE, expected, rtol=1e-5, atol=1e-6)
    assert found.logit_scale.item() == model.logit_scale.item()
    other = encode(saved(model.state_dict(), tmp_path / "clip.pt"), QUICK if config is CONFIG else CONFIG)
    assert not torch.allclose(other.features_CE, expected, rtol=1e-5, atol=1e-6)


def test_a_training_checkpoint_and_more_texts_than_go_at_a_time(tmp_path):
    model = make_clip()
    state = {"epoch": 1, "state_dict": {f"module.{name}": tensor for name, tensor in model.state_dict().items()}}
    texts = [f"class {number}" for number in range(70)]
    found = encode(saved(state, tmp_path / "clip.pt"), texts=texts)
    with torch.no_grad():
        expected = model.encode_text(get_tokenizer("ViT-B-32")(texts))
    torch.testing.assert_close(found.features_CE, expected, rtol=1e-5, atol=1e-6)


def test_half_precision_is_computed_in_full(tmp_path):
    model = make_clip()
    state = {name: tensor.half() for name, tensor in model.state_dict().items()}
    found = encode(saved(state, tmp_path / "clip.pt"))
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    with torch.no_grad():
        expected = model.encode_text(get_tokenizer("ViT-B-32")(TEXTS))
    assert found.features_CE.dtype == torch.float32
    torch.testing.assert_close(found.features_CE, expected, rtol=1e-5, atol=1e-6)


def test_random_weights_are_a_function_of_the_seed():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, again, other = (encode(RandomWeights(seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.features_CE, again.features_CE)
    assert not torch.equal(one.features_CE, other.features_CE)
    assert one.logit_scale.item() == pytest.approx(math.log(1 / 0.07))
    cosines = torch.nn.functional.normalize(one.features_CE, dim=-1)
    assert (cosines @ cosines.t()).fill_diagonal_(0).max() < 0.99


def test_on_meta_there_are_shapes_and_no_weights_are_read():
    found = encode(FileWeights(path="/no/such/file"), device="meta")
    assert (found.features_CE.shape, found.features_CE.device.type) == ((3, 24), "meta")


# ---- files that do not serve


def without_text(state):
    return {name: tensor for name, tensor in state.items() if name.startswith("visual.")}


def without_scale(state):
    return {name: tensor for name, tensor in state.items() if name != "logit_scale"}


def narrower(state):
    return state | {"ln_final.weight": torch.ones(8)}


def incomplete(state):
    return {name: tensor for name, tensor in state.items() if not name.startswith("transformer.resblocks.1.")}


def not_finite(state):
    return state | {"text_projection": torch.full_like(state["text_projection"], float("nan"))}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_text, ["holds no text tower", "{kind: linear}"]),
        (without_scale, ["holds no logit_scale"]),
        (narrower, ["does not fit the text tower", "ln_final.weight is [8], not [16]"]),
        (incomplete, ["does not fit the text tower", "12 of 29 tensors are missing"]),
        (not_finite, ["text_projection is not finite"]),
    ],
)
def test_a_file_that_does_not_serve_is_named(spoil, words, tmp_path):
    weights = saved(spoil(make_clip().state_dict()), tmp_path / "clip.pt")
    with pytest.raises(InputError) as error:
        encode(weights)
    assert all(word in str(error.value) for word in [*words, "backbone.weights.path (clip.pt)"]), str(error.value)


# ---- the head


def texts(scale=4.0):
    generator = torch.Generator().manual_seed(0)
    return TextFeatures(3 * torch.randn(5, 24, generator=generator), torch.tensor(scale))


def logits_of(features_BE, given):
    left, right = features_BE.double(), given.features_CE.double()
    cosines = (left @ right.t()) / left.norm(dim=1, keepdim=True) / right.norm(dim=1)
    return cosines * math.exp(given.logit_scale.item())


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_logits_are_scaled_cosines_in_full_precision(precision):
    head = Classification(tuple("abcde"), texts=texts()).head(24)
    features_BE = torch.randn(7, 24, generator=torch.Generator().manual_seed(1)).to(precision).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        found = head(features_BE)
    assert (found.double() - logits_of(features_BE, texts())).abs().max() < 1e-4
    found[:, 0].sum().backward()
    assert features_BE.grad.abs().max() > 0


def test_nothing_of_it_is_trained_and_all_of_it_is_saved():
    head = Classification(tuple("abcde"), dropout=0.5, texts=texts()).head(24)
    assert not list(head.parameters())
    assert set(head.state_dict()) == {"1.features_CE", "1.logit_scale"}
    assert head[0].p == 0.5
    assert isinstance(head[1], TextHead)


def test_another_width_is_refused():
    with pytest.raises(ValueError, match="features are 32 wide, those of the texts 24"):
        Classification(tuple("abcde"), texts=texts()).head(32)


def test_the_prompt_has_the_names_in_it():
    asked = []

    def encode_texts(sentences):
        asked.extend(sentences)
        return texts()

    RecognitionSpec.model_validate(CLASSIFIER).build(("cat", "{}"), encode_texts=encode_texts)
    assert asked == ["a clip of cat", "a clip of {}"]


# ---- in an experiment


def spec(**changes):
    return tiny(backbone=BACKBONE, method={"kind": "dist", "dim": 64, "temporal_dim": 8}, task=CLASSIFIER, **changes)


@pytest.mark.usefixtures("small_models")
def test_a_student_has_the_texts_of_its_classes():
    experiment = spec()
    tower = experiment.backbone.build("cpu")
    student = build_student("a", experiment, ProcessGroup(), tower)
    sentences = [f"a clip of {name}" for name in experiment.data.dataset.classes()]
    expected = encode(RandomWeights(seed=2), texts=sentences).features_CE
    torch.testing.assert_close(
        student.module.head[1].features_CE, expected / expected.norm(dim=1, keepdim=True), rtol=1e-5, atol=1e-6
    )
    network = sum(parameter.numel() for parameter in student.module.network.parameters())
    assert student.trainable_parameters == network
    meta_model = build_meta_model(experiment, classes=len(sentences))
    shapes = {name: tensor.shape for name, tensor in student.module.state_dict().items()}
    assert {name: tensor.shape for name, tensor in meta_model.module.state_dict().items()} == shapes


@pytest.mark.usefixtures("small_models")
def test_a_run_with_it_holds_what_was_planned_and_its_checkpoint_evaluates_alike(tmp_path):
    experiment = spec(optimization={"learning_rate": 1e-3, "length": {"epochs": 1}})
    reports = []

    def report(given):
        if given.checkpoint is not None:
            shutil.copytree(given.checkpoint, tmp_path / "kept", dirs_exist_ok=True)
        reports.append(given)

    outcome = run({"a": experiment}, RunContext(ProcessGroup(), tmp_path, report))["a"]
    plan = plan_experiment(experiment, classes=len(experiment.data.dataset.classes()))
    assert outcome.memory["held_for_backward_gib"] == pytest.approx(plan.held_for_backward_gib, rel=0.01)
    assert outcome.trainable_parameters == plan.trainable_parameters
    (weights,) = (tmp_path / "kept").rglob("weights.safetensors")
    evaluations, _ = evaluate_students({"a": experiment}, {"a": weights}, ProcessGroup())
    assert evaluations["a"].metrics["top1"] == outcome.metrics["eval/top1"]


@pytest.mark.usefixtures("small_models")
def test_the_initial_weights_do_not_depend_on_the_texts():
    tower = spec().backbone.build("cpu")
    one, other = (
        build_student("a", experiment, ProcessGroup(), tower)
        for experiment in (spec(), spec().model_copy(update={"task": RecognitionSpec()}))
    )
    left, right = one.module.network.state_dict(), other.module.network.state_dict()
    assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.usefixtures("small_models")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backbone": {"kind": "vit", **tiny().backbone.model_dump(exclude={"kind"})}}, ["vit has no text tower"]),
        ({"method": {"kind": "linear"}}, ["texts have 24 features here", "linear gives 64"]),
        ({"task": {"classifier": {"kind": "text", "prompt": "a clip"}}}, ["no one place for the name"]),
        ({"task": {"classifier": {"kind": "texts"}}}, ["task.classifier", "did you mean text?"]),
    ],
    ids=["no text tower", "another width", "prompt without a name", "unknown kind"],
)
def test_what_does_not_fit_is_said_before_anything_runs(changes, words):
    document = {"backbone": BACKBONE, "method": {"kind": "dist", "dim": 64}, "task": CLASSIFIER} | changes
    with pytest.raises(InputError) as error:
        tiny(**document)
    assert all(word in str(error.value) for word in ["task.classifier", *words]), str(error.value)


@pytest.mark.usefixtures("small_models")
def test_numbers_are_no_names(tmp_path):
    (tmp_path / "all.csv").write_text("path,label,split\na.mp4,0,train\nb.mp4,1,test\n")
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    dataset = {"kind": "list", "annotations": str(tmp_path / "all.csv"), "mirror": {"kind": "pairs", "pairs": []}}
    experiment = spec(data={"dataset": dataset})
    with pytest.raises(InputError, match="the classes have numbers for names"):
        check_files(experiment)


def test_a_model_by_its_name_without_weights():
    """All that open_clip's real configurations ask for is understood."""
    for model in ("ViT-B-16-quickgelu", "EVA02-E-14-plus", "ViT-bigG-14"):
        found = OpenCLIPSpec(model=model, weights={"kind": "random"}).encode_texts(["a"], device="meta")
        assert found.features_CE.shape[0] == 1
