"""Which pretrained weights are in the local cache; no test asks the network."""

import huggingface_hub
import pytest
from huggingface_hub import constants

from side4video.models.towers import cached_weights
from side4video.models.towers.cached_weights import can_reach_hub, find_weights


def test_weights_in_the_cache_are_found(monkeypatch, tmp_path):
    there = {"timm/vit_base_patch32_clip_224.openai": tmp_path}
    found = lambda config: there.get(str(config.get("hf_hub", "")).rpartition("/")[0])  # noqa: E731
    monkeypatch.setattr(cached_weights, "find_in_cache", found)
    assert find_weights("ViT-B-32-quickgelu", "openai").path == tmp_path
    assert find_weights("ViT-B-16-quickgelu", "openai").path is None
    names = [(each.model, each.tag) for each in cached_weights.cached_weights()]
    assert names == [("ViT-B-32-quickgelu", "openai")]


def test_all_weights_that_init_names_have_a_repository():
    from side4video.apps.init.settings import ON_CPU, ON_GPU

    assert all(find_weights(model, tag).repository for model, tag in (*ON_CPU, *ON_GPU))


@pytest.mark.parametrize("is_offline", [True, False])
def test_whether_the_hub_can_be_reached(monkeypatch, is_offline):
    asked = []

    class Session:
        def head(self, address, timeout):
            asked.append(timeout)
            raise OSError("no network")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", is_offline)
    monkeypatch.setattr(huggingface_hub.utils, "get_session", Session)
    assert not can_reach_hub(3.0)
    assert asked == ([] if is_offline else [3.0])
