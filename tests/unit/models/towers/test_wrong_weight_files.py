"""A file that is not the tower's, whatever it is, is one line that says so, and nothing in it runs."""

import os
import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from side4video.core.errors import InputError
from side4video.models.backbones import TimmSpec
from weight_states import TEXT, file_weights, prefixed, state_of


class Payload:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return (os.mkdir, (os.environ["SIDE4VIDEO_TEST_MARK"],))


def malicious_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps({"visual": Payload()}))
        archive.writestr("x/constants.pkl", b"")
        archive.writestr("x/code/__torch__.py", "")


def without(state, name):
    return {key: tensor for key, tensor in state.items() if key != name}


def as_transformers(state):
    """Under the names of Hugging Face's CLIP."""
    names = {
        "class_embedding": "embeddings.class_embedding",
        "conv1.weight": "embeddings.patch_embedding.weight",
        "positional_embedding": "embeddings.position_embedding.weight",
    }
    return {
        "vision_model." + names.get(name, name.replace("transformer.resblocks.", "encoder.layers.")): tensor
        for name, tensor in state.items()
    }


def cut(path, fraction):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])


WRONG = {
    "empty": lambda state, path: path.write_bytes(b""),
    "few bytes": lambda state, path: path.write_bytes(b"abc"),
    "a text": lambda state, path: path.write_text("version https://git-lfs.github.com/spec/v1\n" * 4),
    "a web page": lambda state, path: path.write_text("<!DOCTYPE html><html>Not found</html>"),
    "noise": lambda state, path: path.write_bytes(bytes(range(256)) * 9),
    "noise that starts like safetensors": lambda state, path: path.write_bytes(b"\x20" + bytes(7) + b"{" * 99),
    "noise that starts like a pickle": lambda state, path: path.write_bytes(b"\x80\x02" + bytes(range(256))),
    "another zip": lambda state, path: malicious_zip(path),
    "safetensors cut short": lambda state, path: (save_file(state, path), cut(path, 0.6)),
    "torch file cut short": lambda state, path: (torch.save(state, path), cut(path, 0.6)),
    "old torch file cut short": lambda state, path: (
        torch.save(state, path, _use_new_zipfile_serialization=False),
        cut(path, 0.6),
    ),
    "no tensors": lambda state, path: save_file({}, path),
    "no tensors but numbers": lambda state, path: torch.save({"epoch": 3, "lr": 0.1}, path),
    "a list": lambda state, path: torch.save(list(state.values()), path),
    "one tensor": lambda state, path: torch.save(state["proj"], path),
    "code in a pickle": lambda state, path: torch.save({"state_dict": state, "hook": Payload()}, path),
    "code in an archive": lambda state, path: malicious_archive(path),
    "a whole module": lambda state, path: torch.save(nn.Linear(2, 2), path),
    "one tensor missing": lambda state, path: save_file(without(state, "ln_post.bias"), path),
    "one tensor too many": lambda state, path: save_file(state | {"extra": torch.zeros(2)}, path),
    "another shape": lambda state, path: save_file(state | {"proj": torch.zeros(32, 25)}, path),
    "another image size": lambda state, path: save_file(state | {"positional_embedding": torch.zeros(50, 32)}, path),
    "one block more": lambda state, path: save_file(
        state | {k.replace("blocks.3", "blocks.4"): t.clone() for k, t in state.items() if "blocks.3" in k}, path
    ),
    "only a text tower": lambda state, path: save_file(TEXT, path),
    "Hugging Face transformers": lambda state, path: save_file(as_transformers(state), path),
    "a student and its teacher": lambda state, path: torch.save(
        prefixed(state, "student.visual.") | prefixed(state, "teacher.visual."), path
    ),
    "not a number": lambda state, path: save_file(state | {"proj": torch.full((32, 24), float("nan"))}, path),
    "infinite": lambda state, path: save_file(state | {"proj": torch.full((32, 24), float("inf"))}, path),
    "whole numbers": lambda state, path: save_file(state | {"proj": torch.zeros(32, 24, dtype=torch.int8)}, path),
    "only an optimizer": lambda state, path: torch.save({"optimizer": {"state": {}, "param_groups": []}}, path),
}


def malicious_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing")


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_file_is_one_line_that_says_what_is_wrong(build, source, tmp_path, monkeypatch, kind):
    mark = tmp_path / "it-ran"
    monkeypatch.setenv("SIDE4VIDEO_TEST_MARK", str(mark))
    path = tmp_path / "weights.bin"
    WRONG[kind](state_of(source), path)
    with pytest.raises(InputError) as caught:
        build("clip", weights=file_weights(path))
    text = str(caught.value)
    assert text.startswith("backbone.weights.path")
    assert "\n" not in text
    assert "weights.bin" in text
    assert len(text) < 600
    assert not mark.exists()


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("one tensor missing", r"1 of 56 tensors are missing \(ln_post.bias\)"),
        ("one tensor too many", r"1 are not the tower's \(extra\)"),
        ("another shape", r"proj is \[32, 25\], not \[32, 24\]"),
        ("one block more", "it holds a CLIP tower of 5 blocks of width 32, patch 8"),
        ("Hugging Face transformers", "layout of Hugging Face transformers"),
        ("code in a pickle", "fix: if you trust it, save its tensors alone first"),
        ("code in an archive", "the archive names posix.mkdir"),
        ("a text", "neither safetensors nor a torch file"),
        ("empty", "it is empty"),
        ("not a number", "proj is not finite everywhere"),
        ("whole numbers", r"proj is of type torch\.int8"),
        ("a list", "holds no tensors by name but a list"),
    ],
)
def test_the_line_names_the_fault(build, source, tmp_path, monkeypatch, kind, says):
    monkeypatch.setenv("SIDE4VIDEO_TEST_MARK", str(tmp_path / "it-ran"))
    WRONG[kind](state_of(source), tmp_path / "weights.bin")
    with pytest.raises(InputError, match=says):
        build("clip", weights=file_weights(tmp_path / "weights.bin"))


@pytest.mark.parametrize(("theirs", "ours"), [("eva-post-norm", "clip"), ("clip", "eva-post-norm")])
def test_a_file_of_the_other_family_is_refused(build, tmp_path, theirs, ours):
    save_file(prefixed(state_of(build(theirs)), "visual."), tmp_path / "weights.safetensors")
    family = "an EVA" if theirs.startswith("eva") else "a CLIP"
    with pytest.raises(InputError, match=f"it holds {family} tower of 4 blocks of width 32, patch 8"):
        build(ours, weights=file_weights(tmp_path / "weights.safetensors"))


@pytest.mark.parametrize("path", ["/nowhere/at-all.pt", "${SIDE4VIDEO_UNSET}/a.pt", "/"])
def test_a_file_that_is_not_there(build, monkeypatch, path):
    monkeypatch.delenv("SIDE4VIDEO_UNSET", raising=False)
    with pytest.raises(InputError, match=r"^backbone\.weights\.path: "):
        build("clip", weights=file_weights(path))


def test_tensors_that_the_library_cannot_convert_are_one_line(tmp_path):
    """Positions of one token more: timm resizes them to a grid that they are not of."""
    whole = TimmSpec(model="vit_small_patch14_dinov2", image_size=56, weights={"kind": "random"}, precision="fp32")
    tower = whole.build()
    path = tmp_path / "small.pth"
    torch.save(dict(tower.trunk.visual.state_dict()), path)
    with_registers = {"model": "vit_small_patch14_reg4_dinov2", "image_size": 70}
    spec = TimmSpec(**with_registers, weights={"kind": "file", "path": str(path)})
    with pytest.raises(InputError, match="the file does not fit the tower") as caught:
        spec.build()
    assert "\n" not in str(caught.value)
