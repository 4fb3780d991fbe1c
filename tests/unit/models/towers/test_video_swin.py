"""Video Swin with another window: counts, the library's forward, and weights that were trained with fewer offsets."""

import pytest
import torch
from pydantic import ValidationError
from torchvision.models.video.swin_transformer import SwinTransformer3d

from clip_towers import clip_tower
from side4video.core.errors import InputError
from side4video.models.backbones import ClipTowerSpec
from side4video.models.feature_request import FeatureRequest
from side4video.models.frozen_features import frozen_features
from side4video.models.methods.full import FullSpec
from side4video.models.towers.video_swin import table_for_window

SIZES = {"kind": "swin", "width": 24, "layers": (2, 2), "heads": (1, 2)}


def library(window):
    """torchvision's network, every tensor at random."""
    torch.manual_seed(0)
    model = SwinTransformer3d([2, 4, 4], 24, [2, 2], [1, 2], list(window), num_classes=5).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def tower_of(path, window):
    sizes = {**SIZES, "window": window}
    return clip_tower("video-swin", weights={"kind": "file", "path": str(path)}, sizes=sizes)


def written(model, folder):
    torch.save(model.state_dict(), folder / "swin.pth")
    return folder / "swin.pth"


def video(frames=20):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (1, frames, 3, 32, 32), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(("window", "parameters"), [((16, 7, 7), 88_834_038), ((8, 7, 7), 88_048_984)])
def test_the_authors_parameters(window, parameters):
    classes = {16: 174, 8: 400}[window[0]]
    tower = ClipTowerSpec(model="swin3d_b", window=window, weights={"kind": "random"}).build("meta")
    network = FullSpec().build(tower, frames=32)
    trained = sum(each.numel() for each in network.parameters() if each.requires_grad)
    assert trained + classes * (network.output_dim + 1) == parameters


@pytest.mark.parametrize("window", [(4, 3, 3), (16, 7, 7)], ids=str)
def test_the_walk_is_the_librarys_forward(window, tmp_path):
    """Also where a clip is shorter than a window, or is padded to several."""
    model = library(window)
    tower = tower_of(written(model, tmp_path), window).build()
    features = frozen_features(tower, video(), FeatureRequest(pooled=True))
    with torch.no_grad():
        tokens = model.norm(model.features(model.patch_embed(tower.normalise(video()).transpose(1, 2))))
    assert torch.equal(features.pooled_BTD.squeeze(1), tokens.flatten(1, 3).mean(1))


def test_a_table_is_repeated_beyond_its_ends():
    """Windows of 2 x 1 x 1, of offsets -1, 0 and 1, for one of 4: -3 to 3."""
    table = torch.tensor([[1.0], [2.0], [3.0]])
    assert table_for_window(table, (4, 1, 1), entries=7).flatten().tolist() == [1, 1, 1, 2, 3, 3, 3]
    assert table_for_window(torch.arange(7.0).view(7, 1), (2, 1, 1), entries=3).flatten().tolist() == [2, 3, 4]
    same = torch.randn(3 * 9, 2)
    assert table_for_window(same, (2, 2, 2), entries=27) is same


def test_weights_of_a_shorter_window_see_near_tokens_alike(tmp_path):
    """A clip of four tokens has offsets up to three, which both windows have: the outputs are equal."""
    model = library((4, 7, 7))
    path = written(model, tmp_path)
    outputs = []
    for window in ((4, 7, 7), (16, 7, 7)):
        tower = tower_of(path, window).build()
        outputs.append(frozen_features(tower, video(8), FeatureRequest(pooled=True)).pooled_BTD)
    # A window that is cut takes the first rows and columns of its index, which are those of the same offsets in time.
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=1e-5)


def test_weights_of_another_height_are_refused(tmp_path):
    path = written(library((4, 7, 7)), tmp_path)
    with pytest.raises(InputError, match="relative_position_bias_table is"):
        tower_of(path, (4, 3, 7)).build()


def test_drop_path_reaches_the_blocks():
    spec = ClipTowerSpec(model="swin3d_t", drop_path=0.4, weights={"kind": "random"})
    blocks = spec.build("meta").trunk.blocks
    assert [blocks[0].stochastic_depth.p, blocks[-1].stochastic_depth.p] == pytest.approx([0.0, 0.4])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "vivit-b-16x2", "window": (16, 7, 7)}, "and the model is vivit-b-16x2"),
        ({"model": "video-swin", "sizes": SIZES, "drop_path": 0.4}, "for `sizes` of Video Swin it is one of them"),
        ({"model": "swin3d_b", "window": (16, 100, 100)}, "160,000 tokens"),
    ],
)
def test_what_is_not_video_swins_is_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        ClipTowerSpec.model_validate({"weights": {"kind": "random"}, **options})
