"""What a user may write about a backbone, and what is known from it without torch."""

import subprocess
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from side4video.core.errors import InputError
from side4video.models.backbones import Backbone, OpenCLIPSpec, TowerShape, ViTSpec

RANDOM = {"kind": "random"}


def parse(document):
    return TypeAdapter(Backbone).validate_python(document)


def refusal(document):
    with pytest.raises(ValidationError) as caught:
        parse(document)
    assert caught.value.error_count() == 1
    return str(caught.value)


def test_reading_a_spec_and_its_shape_loads_no_heavy_library():
    program = """
import sys
from pydantic import TypeAdapter
from side4video.models.backbones import Backbone
for model in ("ViT-B-16", "EVA02-E-14"):
    spec = {"kind": "open-clip", "model": model, "weights": {"kind": "random"}}
    TypeAdapter(Backbone).validate_python(spec).shape()
TypeAdapter(Backbone).validate_python({"kind": "vit", "weights": {"kind": "random"}}).shape()
heavy = ("torch", "torchvision", "timm", "open_clip", "numpy", "PIL", "safetensors")
print([name for name in heavy if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_union_tells_the_families_apart():
    assert isinstance(parse({"kind": "open-clip", "model": "ViT-B-16", "weights": RANDOM}), OpenCLIPSpec)
    assert isinstance(parse({"kind": "vit", "weights": RANDOM}), ViTSpec)


def test_the_defaults():
    spec = parse({"kind": "open-clip", "model": "ViT-B-16", "weights": RANDOM})
    assert (spec.precision, spec.chunk_frames, spec.weights.seed) == ("bf16", "auto", 0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"weights": None}, "weights"),
        ({"weights": {"kind": "pretraind", "tag": "openai"}}, "'pretrained', 'file', 'random'"),
        ({"weights": {"kind": "pretrained"}}, "tag"),
        ({"weights": {"kind": "file"}}, "path"),
        ({"weights": {"kind": "file", "path": ""}}, "at least 1 character"),
        ({"weights": {"kind": "random", "seed": -1}}, "greater than or equal to 0"),
        ({"weights": {"kind": "random", "sede": 1}}, "Extra inputs"),
        ({"model": "ViT-B-17"}, "did you mean ViT-B-16"),
        ({"model": "RN50"}, "its image tower is a ResNet"),
        ({"precision": "fp16"}, "'fp32', 'bf16' or '8-bit'"),
        ({"chunk_frames": 0}, "greater than 0"),
        ({"chunkframes": 4}, "Extra inputs"),
        ({"kind": "open_clip"}, "'open-clip', 'timm', 'vit'"),
    ],
)
def test_wrong_open_clip_specs_are_refused(change, says):
    document = {"kind": "open-clip", "model": "ViT-B-16", "weights": RANDOM, **change}
    with pytest.raises(ValidationError) as caught:
        parse(document)
    assert says in str(caught.value)


def test_weights_are_never_a_default():
    assert "Field required" in refusal({"kind": "open-clip", "model": "ViT-B-16"})
    assert "Field required" in refusal({"kind": "vit"})


@pytest.mark.parametrize(
    ("model", "tag", "twin"),
    [
        ("ViT-B-16", "openai", "ViT-B-16-quickgelu"),
        ("ViT-L-14-336", "openai", "ViT-L-14-336-quickgelu"),
        ("ViT-B-32", "laion400m_e32", "ViT-B-32-quickgelu"),
        ("ViT-B-16-quickgelu", "laion2b_s34b_b88k", "ViT-B-16"),
    ],
)
def test_weights_of_the_other_activation_are_refused_with_the_fix(model, tag, twin):
    text = refusal({"kind": "open-clip", "model": model, "weights": {"kind": "pretrained", "tag": tag}})
    assert "QuickGELU" in text
    assert f"fix: model: {twin}" in text
    assert parse({"kind": "open-clip", "model": twin, "weights": {"kind": "pretrained", "tag": tag}})


def test_an_unknown_tag_is_refused_with_those_there_are():
    text = refusal({"kind": "open-clip", "model": "EVA02-E-14", "weights": {"kind": "pretrained", "tag": "openai"}})
    assert "allowed: laion2b_s4b_b115k" in text
    text = refusal({"kind": "open-clip", "model": "ViT-L-14-336", "weights": {"kind": "pretrained", "tag": "laion"}})
    assert "none, use a file" in text


def test_the_normalisation_follows_the_tag():
    weights = {"kind": "pretrained", "tag": "laion2b_s32b_b82k"}
    assert OpenCLIPSpec(model="ViT-L-14", weights=weights).shape().mean == (0.5, 0.5, 0.5)
    assert OpenCLIPSpec(model="ViT-L-14", weights=RANDOM).shape().mean == (0.48145466, 0.4578275, 0.40821073)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"patch_size": 15}, "fix: set image_size to 225"),
        ({"head_width": 60}, "fix: set width to 780"),
        ({"layers": 0}, "greater than 0"),
        ({"mean": (123.7, 116.3, 103.5)}, "less than or equal to 1"),
        ({"std": (0.0, 0.2, 0.2)}, "greater than 0"),
        ({"mean": (0.5, 0.5)}, "Field required"),
        ({"weights": {"kind": "pretrained", "tag": "openai"}}, "'file', 'random'"),
        ({"dim": 64}, "Extra inputs"),
    ],
)
def test_wrong_vit_specs_are_refused(change, says):
    with pytest.raises(ValidationError) as caught:
        parse({"kind": "vit", "weights": RANDOM, **change})
    assert says in str(caught.value)


def test_the_shape_of_a_vit():
    spec = ViTSpec(weights=RANDOM, image_size=64, patch_size=8, width=192, layers=4, head_width=32, mlp_ratio=2.5)
    shape = spec.shape()
    assert (shape.depth, shape.width, shape.heads, shape.mlp_width) == (4, 192, 6, 480)
    assert (shape.grid, shape.patches, shape.tokens) == (8, 64, 65)


def test_a_missing_weights_file_is_found_without_building(tmp_path, monkeypatch):
    monkeypatch.delenv("WEIGHTS", raising=False)
    for path, says in [(tmp_path / "no.pt", "does not exist"), (tmp_path, "is a folder"), ("${WEIGHTS}/a", "WEIGHTS")]:
        spec = ViTSpec(weights={"kind": "file", "path": str(path)})
        with pytest.raises(InputError, match=rf"^backbone\.weights\.path: .*{says}"):
            spec.check()
    ViTSpec(weights=RANDOM).check()
    (tmp_path / "yes.pt").write_bytes(b"\x80\x02")  # as a torch file begins
    monkeypatch.setenv("WEIGHTS", str(tmp_path))
    OpenCLIPSpec(model="ViT-B-16", weights={"kind": "file", "path": "${WEIGHTS}/yes.pt"}).check()


def test_a_resolved_document_reads_back_as_the_same_spec():
    for document in (
        {"kind": "open-clip", "model": "ViT-B-16-quickgelu", "weights": {"kind": "pretrained", "tag": "openai"}},
        {"kind": "vit", "weights": {"kind": "file", "path": "${W}/a.pt"}, "chunk_frames": 16, "width": 192},
    ):
        spec = parse(document)
        assert parse(spec.model_dump(mode="json")) == spec


def test_the_schema_describes_every_field():
    definitions = TypeAdapter(Backbone).json_schema()["$defs"]
    undescribed = [
        f"{name}.{field}"
        for name, definition in definitions.items()
        for field, entry in definition["properties"].items()
        if field != "kind" and not entry.get("description")
    ]
    assert undescribed == []


def test_a_shape_cannot_be_changed():
    shape = ViTSpec(weights=RANDOM).shape()
    assert isinstance(shape, TowerShape)
    with pytest.raises(AttributeError):
        shape.depth = 3


def test_fields_of_later_versions_leave_what_identifies_a_backbone_as_it_was():
    """Caches of features and indexes of videos are found by these values."""
    spec = OpenCLIPSpec(model="ViT-B-16", weights=RANDOM)
    assert spec.identifying_values(exclude={"weights"}) == {
        "kind": "open-clip",
        "model": "ViT-B-16",
        "precision": "bf16",
        "chunk_frames": "auto",
        "kept_tokens": "own-precision",
    }
    larger = OpenCLIPSpec(model="ViT-B-16", weights=RANDOM, image_size=256)
    assert larger.identifying_values()["image_size"] == 256
