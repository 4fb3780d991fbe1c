"""Further formats: a file with the authors' names is imported, and computes what the authors' model computes."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

import authors_files
import authors_files_more
import authors_forward
import authors_forward_more
import authors_pairs_forward
import side4video
import toys
from side4video.apps.imports.command import import_checkpoint
from side4video.apps.imports.formats import FORMATS
from side4video.apps.imports.tensors import read_tensors, shapes_of
from side4video.apps.imports.tower import given_tower
from side4video.core.errors import InputError
from side4video.models.backbones import OpenCLIPSpec
from side4video.models.frozen_features import features_of_batch
from side4video.models.networks.contract import Descriptions
from side4video.models.towers.load import TowerWeights
from side4video.models.towers.tokenizer import TextTokenizer
from side4video.spec.bundle import WEIGHTS
from side4video.tasks.recognition.class_order import in_order_of

NAMES = ("opening a door", "closing a door", "throwing", "catching", "running fast")
QUERIES = ("a dog runs", "two people catch the red ball in a very large garden behind the house", "rain")
RETRIEVAL = ("clip2video", "ts2-net", "cap4video", "stan")
PROMPTS = {"text4vis": "a video of a person {}.", "bike": "This is a video about {}"}
BESIDE = "fusion_model_state_dict"
CASES = {
    **{name: (name, make) for name, make in authors_files_more.FILES.items()},
    "uniformerv2-kinetics": ("uniformerv2", lambda: authors_files_more.uniformerv2("kinetics")),
    "cap4video-sentences": ("cap4video", lambda: authors_files_more.cap4video("sentences")),
    "uniformerv2-frozen": ("uniformerv2", lambda: authors_files_more.uniformerv2("frozen")),
}


def state_of(form: str, make=None, seed: int = 4) -> dict[str, torch.Tensor]:
    state = authors_files.values((make or authors_files_more.FILES[form])(), seed)
    return {name: 1 + tensor.abs() if name.endswith("running_var") else tensor for name, tensor in state.items()}


def front_of(form: str) -> str:
    return "backbone." if form == "uniformerv2" else ""


def reading_of(form: str, state):
    """What the format reads, by names without those of wrappers."""
    inside = {name.removeprefix(front_of(form)): tensor for name, tensor in state.items()}
    return next(each for each in FORMATS if each.name == form).read(shapes_of(inside, where="FILE"))


def checkpoint(place: Path, state) -> Path:
    """A torch file as the authors' training loop writes it: some have two states."""
    second = {name.removeprefix(f"{BESIDE}."): tensor for name, tensor in state.items() if name.startswith(BESIDE)}
    first = {name: tensor for name, tensor in state.items() if not name.startswith(BESIDE)}
    torch.save({"model_state_dict": first, "epoch": 3} | ({BESIDE: second} if second else {}), place / "file.pt")
    return place / "file.pt"


def clip_file(place: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """A whole CLIP, for checkpoints without a text tower."""
    state = authors_files.values(authors_files.tower("visual.") | authors_files.texts(""), seed=9)
    save_file(state, place / "clip.safetensors")
    return place / "clip.safetensors", state


def arguments_of(place: Path, form: str, state) -> list[str]:
    arguments = [form, str(checkpoint(place, state)), str(place / "model"), "--set", "data.frames=4"]
    if form not in RETRIEVAL:
        (place / "names.txt").write_text("\n".join(NAMES))
        arguments += ["--classes", str(place / "names.txt")]
    if form == "text4vis":
        arguments += ["--tower", str(clip_file(place)[0])]
    if form == "cap4video":
        arguments += ["--set", "data.descriptions.file=sentences.json"]
    return arguments


def sentence_tokens(model) -> torch.Tensor:
    """Tokens [B, M, W] of two sentences about each of three videos."""
    texts = [f"{query}, number {number}" for number in range(3) for query in QUERIES[:2]]
    return torch.cat([model.read(text).tokens_QW for text in texts]).unflatten(0, (3, 2))


def imported(place: Path, form: str, state) -> tuple[Path, str]:
    """The folder of a file, and what the command says."""
    done = CliRunner().invoke(import_checkpoint, arguments_of(place, form, state), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return place / "model", done.output


def refused(place: Path, form: str, state) -> str:
    """The one line; no folder is left."""
    done = CliRunner().invoke(import_checkpoint, arguments_of(place, form, state))
    assert isinstance(done.exception, InputError), done.output or done.exception
    assert done.exception.exit_code == 2
    assert not (place / "model").exists()
    assert "\n" not in str(done.exception)
    return str(done.exception)


@torch.no_grad()
def answer_of(folder: Path, form: str, batch):
    """Logits [B, C] of a classifier; similarities [Q, B] of a retrieval model; and the tokens of the texts."""
    if form not in RETRIEVAL:
        model = side4video.load(folder)
        config, texts = model.spec.backbone, [PROMPTS[form].format(name) for name in NAMES] if form in PROMPTS else None
        tokens = None if texts is None else TextTokenizer(config.text_config())(texts, words=authors_files.WORDS)
        return model.student.module.eval()(features_of_batch(model.tower, batch, model.student.reads)), tokens
    model = side4video.load(folder, task="retrieval")
    tokens = torch.cat([model.read(text).tokens_QW for text in QUERIES])
    read = features_of_batch(model._tower, batch, model._student.reads)
    module = model._student.module.eval()
    anything = model._student.task.mock_targets(1, "cpu")
    if form == "cap4video":
        sentences = sentence_tokens(model)
        anything = replace(anything, descriptions=Descriptions(sentences, torch.ones(3, 2, dtype=torch.bool)))
    _, videos = module(read, anything)
    return module.matching.compare(module.embed_texts(tokens), videos), tokens


@torch.no_grad()
def expected_of(form: str, state, batch, tokens, place: Path):
    """What the authors' model computes, in float64."""
    module = authors_pairs_forward if form in RETRIEVAL else authors_forward_more
    forward = getattr(module, form.replace("-", "_"))
    more = [] if tokens is None else [tokens]
    if form == "text4vis":
        more.append(authors_forward.double(clip_file(place)[1]))
    if form == "cap4video":
        more.append(sentence_tokens(side4video.load(place / "model", task="retrieval")))
    return forward(batch.video_BTCHW, authors_forward.double(state), *more)


@pytest.mark.parametrize("case", CASES)
def test_the_model_computes_what_the_authors_compute(case, tmp_path):
    form, make = CASES[case]
    state, batch = state_of(form, make), toys.make_batch("import", size=3)
    folder, said = imported(tmp_path, form, state)
    found, tokens = answer_of(folder, form, batch)
    expected = expected_of(form, state, batch, tokens, tmp_path)
    assert expected.shape == found.shape
    assert expected.std() > 1e-3
    assert (found - expected).abs().max() <= 1e-6 * max(1.0, float(expected.abs().max()))

    reading = reading_of(form, state)
    state = {name.removeprefix(front_of(form)): tensor for name, tensor in state.items()}
    ours = load_file(folder / WEIGHTS)
    rebuilt = authors_files_more.rebuilt(reading, ours, state)
    assert rebuilt
    assert all(torch.equal(tensor, state[name].float()) for name, tensor in rebuilt.items())
    used = rebuilt.keys() | set(reading.tower.values()) | set(reading.texts.values())
    used |= {name for pair in reading.tower_pairs for name in pair.theirs}
    left = {name for name in state if name not in used and not name.endswith("num_batches_tracked")}
    assert all(f"left out: {name} (" in said for name in left)


@pytest.mark.parametrize("form", authors_files_more.FILES)
def test_every_tensor_is_accounted_for(form, tmp_path):
    """A missing one, an unknown one and one of another shape are named."""
    state = state_of(form)
    reading = reading_of(form, state)
    some = [pair for pair in reading.student if pair.ours.endswith(".bias")]
    short = some[len(some) // 2].theirs[0]
    gone = next(name for name in state if name.endswith(short))
    line = refused(tmp_path, form, {name: tensor for name, tensor in state.items() if name != gone})
    assert "1 tensors are missing: " in line
    assert short in line
    assert "1 are unknown: extra" in refused(tmp_path, form, {**state, front_of(form) + "extra": torch.zeros(2)})
    line = refused(tmp_path, form, {**state, gone: torch.zeros(3)})
    assert re.search(re.escape(short) + r"(: shapes| gives \[3\],| is \[3\],)", line)


@pytest.mark.parametrize("form", authors_files_more.FILES)
def test_a_file_given_as_another_format_is_recognised(form, tmp_path):
    state = state_of(form)
    torch.save(state, tmp_path / "file.pt")
    other = "clip4clip" if form in RETRIEVAL else "aim"
    arguments = [other, str(tmp_path / "file.pt"), str(tmp_path / "model")]
    line = str(CliRunner().invoke(import_checkpoint, arguments).exception)
    assert f"it looks like a file of {form} (" in line


def test_texts_that_the_file_does_not_have(tmp_path):
    """Text4Vis' files have no text tower: a CLIP of the same width is given."""
    state = state_of("text4vis")
    arguments = arguments_of(tmp_path, "text4vis", state)[:-2]

    def said(*more: str) -> str:
        return str(CliRunner().invoke(import_checkpoint, [*arguments, *more]).exception)

    assert "--tower: not given, and the checkpoint does not hold the text tower" in said()
    torch.save(authors_files.values(authors_files.tower("")), tmp_path / "image.pt")
    assert "--tower: it has no text tower" in said("--tower", str(tmp_path / "image.pt"))
    wide = authors_files.values(authors_files.tower("visual.") | authors_files.texts(""))
    wide |= {
        "visual.proj": torch.zeros(authors_files.WIDTH, 48),
        "text_projection": torch.zeros(authors_files.TEXT, 48),
    }
    torch.save(wide, tmp_path / "wide.pt")
    assert "its texts have 48 channels, and the file's features 32" in said("--tower", str(tmp_path / "wide.pt"))


def test_words_of_classes_keep_their_classes():
    """The rows of a spotting classifier are put into another order too."""
    state = {"head.words_CWE": torch.arange(6.0).view(2, 3, 1), "head.features_CE": torch.arange(2.0).view(2, 1)}
    turned = in_order_of(("b", "a"), ("a", "b"), state, where="--classes")
    assert all(torch.equal(turned[name], tensor.flip(0)) for name, tensor in state.items())


TWINS = {
    "uniformerv2": lambda state: {"backbone.conv1.weight": state["backbone.conv1.weight"].flip(2)},
    "atm": lambda state: {
        f"visual.transformer.resblocks.0.control_point{number}.conv.weight": state[
            f"visual.transformer.resblocks.0.control_point{3 - number}.conv.weight"
        ]
        for number in (1, 2)
    },
    "clip2video": lambda state: {"weight_center": state["emb_center"], "emb_center": state["weight_center"]},
    "cap4video": lambda state: {
        f"co_connetion_transformer_model_block.0.biattention.{name}2.weight": state[
            f"co_connetion_transformer_model_block.0.biattention.{name}1.weight"
        ]
        for name in ("key", "value")
    },
    "stan": lambda state: {
        f"backbone.STAN_S_layers.0.self_attn.{name}_proj.weight": state[
            f"backbone.STAN_S_layers.0.self_attn.{other}_proj.weight"
        ]
        for name, other in (("q", "v"), ("v", "q"))
    },
}
"""Tensors of the same shape in the wrong places."""


@pytest.mark.parametrize("form", TWINS)
def test_tensors_in_the_wrong_places_are_noticed(form, tmp_path):
    """The broken twin: shapes fit, and the numbers are in the wrong places."""
    state, batch = state_of(form), toys.make_batch("import", size=3)
    folder, _ = imported(tmp_path, form, {**state, **TWINS[form](state)})
    found, tokens = answer_of(folder, form, batch)
    expected = expected_of(form, state, batch, tokens, tmp_path)
    assert (found - expected).abs().max() > 1e-4


def without(state, *fronts: str):
    return {name: tensor for name, tensor in state.items() if not name.startswith(fronts)}


def test_forms_that_are_not_here(tmp_path):
    """Each is named, with what is there."""
    state = state_of("uniformerv2")
    one_frame = {**state, "backbone.conv1.weight": state["backbone.conv1.weight"][:, :, 1:2]}
    assert "its patches span 1 frames, with local mixing" in refused(tmp_path, "uniformerv2", one_frame)
    line = refused(tmp_path, "uniformerv2", without(state, "backbone.transformer.balance"))
    assert "with local mixing, and its tower is frozen" in line
    state, place = state_of("atm"), "visual.transformer.resblocks.{}.control_point_c.corrlayer.sim.downsample.0.weight"
    assert "2 of its blocks have a module" in refused(
        tmp_path, "atm", {**state, place.format(0): state[place.format(1)]}
    )
    line = refused(tmp_path, "clip2video", without(state_of("clip2video"), "weight_center", "emb_center"))
    assert "it has no weight_center" in line
    plain = {name.replace(".attn.net.", ".attn."): tensor for name, tensor in state_of("ts2-net").items()}
    assert "no block has shifted tokens (attn.net)" in refused(tmp_path, "ts2-net", plain)


def test_cap4video_needs_sentences(tmp_path):
    """Its document is not valid without them."""
    arguments = arguments_of(tmp_path, "cap4video", state_of("cap4video"))[:-2]
    error = CliRunner().invoke(import_checkpoint, arguments).exception
    assert isinstance(error, InputError)
    assert "data.descriptions" in str(error)
    assert not (tmp_path / "model").exists()


def test_the_text_tower_of_pretrained_weights(monkeypatch):
    """Its sizes are those of the model's texts; a text tower of another form is none."""
    monkeypatch.setattr(OpenCLIPSpec, "read_weights", lambda spec: TowerWeights({}, spec.weights.tag))
    sizes = {"kind": "transformer", "width": 768, "layers": 12, "head_width": 64, "words": 77}
    assert given_tower("ViT-L-14-quickgelu/openai").text == sizes
    assert not given_tower("ViT-B-16-SigLIP/webli").text


def test_a_second_state_is_read_for_its_format_alone(tmp_path):
    """Side4Video's training loop may write the blocks that it does not use beside its model."""
    state = authors_files.values(authors_files.side4video())
    second = authors_files.values(authors_files_more.frame_blocks(""))
    torch.save({"model_state_dict": state, BESIDE: second}, tmp_path / "file.pt")
    form = next(each for each in FORMATS if each.name == "side4video")
    assert read_tensors(tmp_path / "file.pt", form).keys() == state.keys()
