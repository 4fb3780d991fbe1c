import random
from itertools import product

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from side4video.core.seeds import seeded
from side4video.data.annotations.flip_labels import flip_text
from side4video.data.decode.augmentation import (
    AugmentationSpec,
    RandAugmentPolicy,
    RandAugmentSpec,
    RandomResizedCropSpec,
    Resize,
)
from side4video.data.decode.rand_augment import OPERATIONS, DrawnOperation, apply_operations, draw_operations, strength
from side4video.data.decode.transforms import (
    augment_clip,
    draw_crop,
    evaluation_crops,
    resize_for_test,
    resize_frames,
    to_gray,
)


def picture(height=40, width=56, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def still(frames=5, **size):
    """A clip of one picture: whatever is drawn once for all frames leaves its frames alike."""
    return np.repeat(picture(**size)[None], frames, axis=0)


def spec(**fields):
    return AugmentationSpec.model_validate(fields)


EVERYTHING = spec(random_augment={"kind": "rand-augment"}, grayscale_probability=0.3)


def test_one_draw_for_all_frames():
    changed = 0
    for seed in range(40):
        frames, _ = augment_clip(still(), EVERYTHING, size=24, rng=np.random.default_rng(seed))
        assert frames.shape == (5, 24, 24, 3)
        assert frames.dtype == np.uint8
        assert (frames == frames[:1]).all()
        changed += not (frames[0] == resize_frames(still()[:1], (24, 24))[0]).all()
    assert changed == 40


def test_the_draw_is_a_function_of_the_generator_and_leaves_no_trace():
    random.seed(3)
    np.random.seed(3)
    before = random.getstate(), np.random.get_state()[1].tolist()
    runs = [augment_clip(still(), EVERYTHING, size=24, rng=np.random.default_rng(seed))[0] for seed in (5, 5, 6)]
    assert (runs[0] == runs[1]).all()
    assert not (runs[0] == runs[2]).all()
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_flips_come_as_often_as_said():
    plain = {"crop": {"kind": "resize"}}
    flipped = 0
    for seed in range(400):
        frames, is_flipped = augment_clip(still(), spec(**plain), size=24, rng=np.random.default_rng(seed))
        expected = resize_frames(still(), (24, 24))
        assert (frames == (expected[:, :, ::-1] if is_flipped else expected)).all()
        flipped += is_flipped
    assert 150 < flipped < 250
    never = [
        augment_clip(still(), spec(**plain, flip_probability=0), size=8, rng=np.random.default_rng(n))[1]
        for n in range(99)
    ]
    assert not any(never)


def test_one_chance_does_not_move_another_draw():
    for seed in range(10):
        flips = [
            augment_clip(still(), spec(**fields), size=8, rng=np.random.default_rng(seed))[1]
            for fields in ({}, {"random_augment": {"kind": "rand-augment"}}, {"grayscale_probability": 1.0})
        ]
        assert len(set(flips)) == 1


def test_grey_is_luma_in_all_channels():
    grey = to_gray(still())
    assert (grey[..., 0] == grey[..., 1]).all()
    assert (grey[..., 0] == grey[..., 2]).all()
    assert np.abs(grey[..., 0] - still() @ np.array([0.299, 0.587, 0.114])).max() < 1.5


def test_crops_have_the_area_and_aspect_asked_for():
    crop = RandomResizedCropSpec(scale=(0.2, 0.5))
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(500):
        top, left, height, width = draw_crop((240, 320), crop, rng)
        assert top >= 0 <= left
        assert top + height <= 240
        assert left + width <= 320
        assert 0.73 < width / height < 1.36
        areas.append(height * width / (240 * 320))
    assert 0.19 < min(areas) < 0.22
    assert 0.45 < max(areas) < 0.51
    assert draw_crop((10, 1000), RandomResizedCropSpec(scale=(1, 1)), rng) == (0, 493, 10, 13)


def test_test_crops_are_where_the_authors_code_has_them():
    frames = np.arange(256 * 320).reshape(1, 256, 320, 1)
    left, centre, right = evaluation_crops(frames, 224, 3)
    assert [crop[0, 0, 0, 0] for crop in (left, centre, right)] == [16 * 320, 16 * 320 + 48, 16 * 320 + 96]
    assert (evaluation_crops(frames, 224, 1)[0] == centre).all()
    assert [crop.shape for crop in evaluation_crops(still(), 40, 3)] == [(5, 40, 40, 3)] * 3


@pytest.mark.parametrize(
    ("resize", "shape"),
    [
        ({"kind": "relative"}, (256, 358)),
        ({"kind": "relative", "ratio": 1}, (224, 314)),
        ({"kind": "short-side", "pixels": 300}, (300, 420)),
        ({"kind": "exact", "height": 256, "width": 320}, (256, 320)),
    ],
)
def test_frame_size_before_the_test_crop(resize, shape):
    resized = resize_for_test(still(), TypeAdapter(Resize).validate_python(resize), 224)
    assert resized.shape[1:3] == shape


def test_resizing_is_antialiased_as_pillow_does_it():
    from PIL import Image

    frames = np.stack([picture(seed=seed) for seed in range(3)])
    for name, size in product(("bilinear", "bicubic"), ((17, 31), (40, 20), (80, 99))):
        ours = resize_frames(frames, size, interpolation=name)
        theirs = [np.asarray(Image.fromarray(f).resize(size[::-1], Image.Resampling[name.upper()])) for f in frames]
        difference = np.abs(ours.astype(int) - np.stack(theirs))
        assert difference.max() <= 2
        assert difference.mean() < 0.3


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_as_strong_as_timms(name):
    from timm.data import auto_augment

    assert list(OPERATIONS) == auto_augment._RAND_INCREASING_TRANSFORMS
    for level, sign in product((0.0, 0.13, 0.7, 1.0), (1, -1)):
        ours = strength(name, level, sign)
        function = auto_augment.LEVEL_TO_ARG[name]
        theirs = set()
        for seed in range(12):  # timm draws the sign itself
            with seeded(seed):
                theirs.add(tuple(function(level * 10, {})) if function else ())
        assert any(np.allclose(ours, each) for each in theirs)
        assert {len(ours)} == {len(each) for each in theirs}
        assert len({strength(name, level, s) for s in (1, -1)}) == len(theirs)


def test_a_clip_is_changed_as_timm_changes_a_picture():
    from PIL import Image
    from timm.data.auto_augment import NAME_TO_OP

    for name in OPERATIONS:
        arguments = strength(name, 0.7, -1)
        ours = apply_operations(still(2), [DrawnOperation(name, arguments, bicubic=True)])
        theirs = NAME_TO_OP[name](
            Image.fromarray(picture()), *arguments, resample=Image.Resampling.BICUBIC, fillcolor=(128, 128, 128)
        )
        assert (ours == np.asarray(theirs)).all()


def test_how_often_and_how_strong():
    rng = np.random.default_rng(0)
    drawn = [operation for _ in range(3000) for operation in draw_operations(RandAugmentPolicy(7, 4, 0.5), rng)]
    assert 0.48 < len(drawn) / 12_000 < 0.52
    assert {operation.name for operation in drawn} == set(OPERATIONS)
    angles = np.array([operation.arguments[0] for operation in drawn if operation.name == "Rotate"])
    assert abs(np.abs(angles).mean() - 21) < 0.5
    assert abs(np.abs(angles).std() - 1.5) < 0.3
    assert 0.4 < (angles > 0).mean() < 0.6


@pytest.mark.parametrize(
    "policy", ["rand-m7-n4-mstd0.5", "rand-m11-n4-mstd0.5-inc1", "rand-m7-n0-mstd0.5-inc1", "m7", "", "augmix-m3"]
)
def test_policies_that_are_not_understood(policy):
    with pytest.raises(ValidationError, match="policy must look like"):
        RandAugmentSpec(policy=policy)
    assert RandAugmentSpec(policy="rand-m9-n2-mstd1-inc1").parsed() == (9, 2, 1.0)


@pytest.mark.parametrize(
    "crop", [{"scale": (0.5, 0.1)}, {"scale": (0.5, 1.5)}, {"ratio": (2, 1)}, {"scale": (0, 1)}, {"ratio": (-1, 1)}]
)
def test_crops_that_cannot_be(crop):
    with pytest.raises(ValidationError):
        RandomResizedCropSpec.model_validate(crop)


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("a disc moves from left to right", "a disc moves from right to left"),
        ("Turning the camera LEFT", "Turning the camera RIGHT"),
        ("it turns counter-clockwise", "it turns clockwise"),
        ("upright and alright", "upright and alright"),
    ],
)
def test_sentences_in_a_mirror(text, mirrored):
    assert flip_text(text) == mirrored
