"""Each format: a file with the authors' names is imported, and the model computes what the authors' model computes."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

import authors_files
import authors_forward
import side4video
import toys
from side4video.apps.imports.command import import_checkpoint
from side4video.apps.imports.formats import FORMATS
from side4video.apps.imports.tensors import shapes_of
from side4video.models.frozen_features import features_of_batch
from side4video.models.towers.tokenizer import TextTokenizer
from side4video.spec.bundle import WEIGHTS

NAMES = ("opening a door", "closing a door", "throwing", "catching", "running fast")
QUERIES = ("a dog runs", "two people catch the red ball in a very large garden behind the house", "rain")
WRAPPERS = {
    "side4video": ("model_state_dict", "module."),
    "side4video-retrieval": ("", "module."),
    "st-adapter": ("model", ""),
    "aim": ("state_dict", ""),
    "evl": ("model", "_orig_mod."),
    "dist": ("model_state", "backbone.base_encoder."),
    "clip4clip": ("", ""),
}
"""The key of the state in the file, and what stands in front of the names."""
CASES = {
    **{name: (name, make) for name, make in authors_files.FILES.items()},
    "st-adapter-12": ("st-adapter", lambda: authors_files.st_adapter(places=("adapter_pre_mlp",))),
    "aim-1": ("aim", lambda: authors_files.aim(adapters=("T_Adapter", "S_Adapter", "MLP_Adapter"))),
    "clip4clip-sequence": ("clip4clip", lambda: authors_files.clip4clip("seqTransf")),
    "clip4clip-tight": ("clip4clip", lambda: authors_files.clip4clip("tightTransf")),
}


def checkpoint(place: Path, form: str, state, **beside) -> Path:
    """A torch file as the authors' training loop writes it."""
    key, front = WRAPPERS[form]
    wrapped = {f"{front}{name}": tensor for name, tensor in state.items()}
    path = place / f"{form}.pth"
    torch.save({key: wrapped, "epoch": 3, **beside} if key else wrapped, path)
    return path


def clip_file(place: Path):
    """A file of a whole image tower, for checkpoints without one."""
    state = authors_files.values(authors_files.tower("visual."), seed=9)
    save_file(state, place / "clip.safetensors")
    return place / "clip.safetensors", state


def imported(place: Path, form: str, state, *options: str, task: str = "recognition") -> Path:
    """The folder of a file."""
    arguments = [form, str(checkpoint(place, form, state)), str(place / "model"), "--set", "data.frames=4"]
    if task == "recognition":
        (place / "names.txt").write_text("\n".join(NAMES))
        arguments += ["--classes", str(place / "names.txt")]
    done = CliRunner().invoke(import_checkpoint, [*arguments, *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return place / "model"


def features(model, batch):
    student, tower = (model.student, model.tower) if hasattr(model, "student") else (model._student, model._tower)
    return student.module.eval(), features_of_batch(tower, batch, student.reads)


@torch.no_grad()
def answer_of(folder: Path, batch, task: str):
    """Logits [B, C] of a classifier; of a retrieval model similarities [Q, B], and the tokens of the queries."""
    if task == "recognition":
        model = side4video.load(folder)
        module, read = features(model, batch)
        return module(read), None
    model = side4video.load(folder, task="retrieval")
    module, read = features(model, batch)
    tokens = torch.cat([model.read(text).tokens_QW for text in QUERIES])
    _, videos = module(read, model._student.task.mock_targets(1, "cpu"))
    return module.matching.compare(module.embed_texts(tokens), videos), tokens


@torch.no_grad()
def expected_of(form: str, state, batch, tokens, clip):
    """What the authors' model computes, in float64."""
    theirs = authors_forward.double(state)
    forward = getattr(authors_forward, form.replace("-", "_"))
    if form == "evl":
        return forward(batch.video_BTCHW, theirs, authors_forward.double(clip))
    return forward(batch.video_BTCHW, theirs, *([] if tokens is None else [tokens]))


@pytest.mark.parametrize("case", CASES)
def test_the_model_computes_what_the_authors_compute(case, tmp_path):
    form, make = CASES[case]
    task = "retrieval" if form in ("side4video-retrieval", "clip4clip") else "recognition"
    state, batch = authors_files.values(make(), seed=4), toys.make_batch("import", size=3)
    clip, options = {}, []
    if form == "evl":
        path, clip = clip_file(tmp_path)
        options = ["--tower", str(path)]
    folder = imported(tmp_path, form, state, *options, task=task)
    found, tokens = answer_of(folder, batch, task)
    if form == "dist":
        tokens = TextTokenizer(side4video.load(folder).spec.backbone.text_config())(NAMES, words=77)
    expected = expected_of(form, state, batch, tokens, clip)
    assert expected.std() > 1e-3
    assert (found - expected).abs().max() <= 1e-6 * max(1.0, float(expected.abs().max()))

    (form_of,) = [each for each in FORMATS if each.name == form]
    reading = form_of.read(shapes_of(state, where="FILE"))
    ours = load_file(folder / WEIGHTS)
    for pair in reading.student:
        back = authors_files.to_theirs(pair.change, ours[pair.ours], tuple(state[pair.theirs[0]].shape))
        assert all(torch.equal(made, state[name].float()) for made, name in zip(back, pair.theirs, strict=True)) or (
            pair.ours.endswith("num_batches_tracked")
        )


def test_a_mapping_with_two_names_exchanged_is_noticed(tmp_path):
    """The broken twin: shapes fit, and the numbers are in the wrong places."""
    state, batch = authors_files.values(authors_files.side4video(), seed=4), toys.make_batch("import", size=3)
    block = "visual.transformer.side_transformer.0."
    wrong = dict(state)
    wrong[f"{block}conv.0.weight"], wrong[f"{block}conv.2.weight"] = (
        state[f"{block}conv.2.weight"],
        state[f"{block}conv.0.weight"],
    )
    found, _ = answer_of(imported(tmp_path, "side4video", wrong), batch, "recognition")
    expected = expected_of("side4video", state, batch, None, {})
    assert (found - expected).abs().max() > 1e-3
