"""Side4Video on EVA-CLIP: the tower of the paper is too large for a test, so the mapping is tried on a toy tower."""

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

import authors_files
import authors_forward
import retrieval_toys
import side4video
import toys
from side4video.apps.imports.command import import_checkpoint
from side4video.apps.imports.formats import FORMATS
from side4video.apps.imports.pairs import FileShapes
from side4video.apps.imports.tensors import check_account, shapes_of, student_tensors
from side4video.core.errors import InputError
from side4video.models.backbones import OpenCLIPSpec
from side4video.models.frozen_features import features_of_batch
from side4video.models.methods.side4video import Side4VideoSpec

FORM = {form.name: form for form in FORMATS}
SIZES = {"patches": 4, "width": 32, "depth": 4, "dim": 128}


def expected_of(module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def recognition(seed: int = 2) -> dict[str, Tensor]:
    shapes = authors_files.eva_side("visual.", **SIZES, is_retrieval=False)
    return authors_files.values(shapes | authors_files.layer("fc", 3, 128), seed)


@torch.no_grad()
def test_recognition_computes_what_the_authors_compute():
    method = Side4VideoSpec.model_validate({"preset": "authors-eva", "layers": 2, "dim": 128})
    student, batch = toys.make_student("eva", method, family="eva-post-norm"), toys.make_batch("eva", size=2)
    state = recognition()
    reading = FORM["side4video-eva"].read(shapes_of(state, where="FILE"))
    assert reading.method == {"kind": "side4video", "layers": 2, "dim": 128, "preset": "authors-eva"}
    assert reading.tower == {"blocks.3.norm1.weight": "visual.blocks.3.norm1.weight"}
    check_account(state, reading)
    student.module.load_state_dict(student_tensors(state, reading, expected_of(student.module)))
    tower = toys.toy_tower("fp32", "eva-post-norm")
    read = features_of_batch(tower, batch, student.reads)
    found = student.module.eval()(read)
    theirs, taps = authors_forward.double(state), [read.tokens[tap].double() for tap in (1, 3)]
    side = authors_forward.eva_side(authors_forward.normalised(batch.video_BTCHW), theirs, "visual.", taps)
    expected = authors_forward.linear(side.mean((1, 2)), theirs, "fc")
    assert expected.std() > 0.1
    assert (found - expected).abs().max() <= 1e-6 * max(1.0, float(expected.abs().max()))


def test_retrieval_has_a_place_for_every_tensor():
    """All tensors of our module, in the authors' names and shapes, come back as they were."""
    method = Side4VideoSpec.model_validate({"preset": "authors-eva-retrieval", "layers": 2, "dim": 128})
    student = retrieval_toys.make_student("eva", method, matching="zero", family="eva-post-norm")
    ours = student.module.state_dict()
    shapes = authors_files.eva_side("clip.visual.", **SIZES, is_retrieval=True)
    names = [name.removeprefix("network.text.transformer.") for name in ours if name.startswith("network.text.")]
    shapes |= {f"clip.text.{name}": tuple(ours[f"network.text.transformer.{name}"].shape) for name in names}
    shapes |= {f"clip.visual.norm.{name}": (32,) for name in ("weight", "bias")}
    shapes |= {"clip.visual.head.weight": (24, 32), "clip.visual.head.bias": (24,), "clip.logit_scale": ()}
    for name in ("text_weight_fc", "video_weight_fc"):
        shapes |= authors_files.layer(f"{name}.0", 24, 24) | authors_files.layer(f"{name}.2", 1, 24)
    reading = FORM["side4video-eva-retrieval"].read(FileShapes(shapes, where="FILE"))
    assert {pair.ours for pair in reading.student} == ours.keys()
    state = {name: torch.zeros(size) for name, size in shapes.items()}
    for pair in reading.student:
        theirs = authors_files.to_theirs(pair.change, ours[pair.ours], shapes[pair.theirs[0]])
        state |= dict(zip(pair.theirs, theirs, strict=True))
    check_account(state, reading)
    back = student_tensors(state, reading, expected_of(student.module))
    assert all(torch.equal(back[name], tensor) for name, tensor in ours.items())


def test_a_missing_tensor_is_named_before_sizes_are_read():
    with pytest.raises(InputError, match=r"FILE: the tensor visual\.side_conv1\.weight is missing"):
        FORM["side4video-eva"].read(
            FileShapes({"visual.blocks.0.norm1.weight": (32,), "visual.side_blocks.0.ln_1.bias": (64,)}, where="FILE")
        )


@pytest.mark.slow
@torch.no_grad()
def test_the_command_imports_a_tower_of_eva_clip(tmp_path):
    """A whole file, with a tower of the family that is small enough for a test."""
    backbone = OpenCLIPSpec(model="EVA02-B-16", weights={"kind": "random", "seed": 1}, precision="fp32")
    sizes = {"patches": 196, "width": 768, "depth": 12, "dim": 64}
    side = authors_files.eva_side("visual.", **sizes, is_retrieval=False) | authors_files.layer("fc", 3, 64)
    state = {**authors_files.values(side, 5), "visual.side_conv1.weight": torch.randn(64, 3, 3, 16, 16) / 48}
    del state["visual.blocks.11.norm1.weight"]
    state |= {f"visual.{name}": tensor for name, tensor in backbone.read_weights().tensors.items()}
    torch.save({"model_state_dict": state}, tmp_path / "eva.pt")
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    options = ["--classes", str(tmp_path / "names.txt"), "--set", "data.frames=2"]
    options += ["--set", "backbone.model=EVA02-B-16"]
    arguments = ["side4video-eva", str(tmp_path / "eva.pt"), str(tmp_path / "model"), *options]
    done = CliRunner().invoke(import_checkpoint, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "method.fusion interval, 6 of 12 blocks" in done.output
    model = side4video.load(tmp_path / "model")
    video = torch.randint(0, 256, (1, 2, 3, 224, 224), dtype=torch.uint8)
    batch = toys.ToyBatch(video, torch.zeros(1), torch.zeros(1), torch.zeros(1))
    read = features_of_batch(model.tower, batch, model.student.reads)
    theirs = authors_forward.double(state)
    taps = [read.tokens[tap].double() for tap in (1, 3, 5, 7, 9, 11)]
    side = authors_forward.eva_side(authors_forward.normalised(video), theirs, "visual.", taps)
    expected = authors_forward.linear(side.mean((1, 2)), theirs, "fc")
    found = model.student.module.eval()(read)
    assert (found - expected).abs().max() <= 1e-6 * max(1.0, float(expected.abs().max()))
