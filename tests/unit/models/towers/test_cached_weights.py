"""Which pretrained weights are in the local cache; no test asks the network."""

import subprocess
import sys
import threading
import time

import huggingface_hub
import pytest
from huggingface_hub import constants

from side4video.models.backbones.pretrained import find_pretrained
from side4video.models.towers import cached_weights
from side4video.models.towers.cached_weights import can_reach_hub, find_weights


def test_weights_in_the_cache_are_found(monkeypatch, tmp_path):
    there = {"timm/vit_base_patch32_clip_224.openai": tmp_path}
    is_open_clips = lambda weights: weights.file_names[0].startswith("open_clip")  # noqa: E731
    monkeypatch.setattr(
        cached_weights, "find_in_cache", lambda each: there.get(each.repository) if is_open_clips(each) else None
    )
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


def test_a_hub_that_never_answers_is_waited_for_so_long(monkeypatch):
    released = threading.Event()

    class Session:
        def head(self, address, timeout):
            released.wait(60)  # no time limit of the client ends the search for an address

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.utils, "get_session", Session)
    began = time.monotonic()
    assert not can_reach_hub(0.2)
    assert time.monotonic() - began < 10
    released.set()
    assert can_reach_hub(10.0)


def test_the_names_of_files_are_the_libraries():
    from open_clip import constants as open_clip
    from timm.models import _hub as timm

    assert find_pretrained("ViT-B-32-quickgelu", "openai").file_names == (
        open_clip.HF_SAFE_WEIGHTS_NAME,
        open_clip.HF_WEIGHTS_NAME,
    )
    assert find_pretrained("vit_small_patch14_reg4_dinov2", "lvd142m").file_names == (
        timm.HF_WEIGHTS_NAME.replace("pytorch_model.bin", "model.safetensors"),
        timm.HF_WEIGHTS_NAME,
    )
    assert find_pretrained("vit_small_patch14_reg4_dinov2", "openai") is None


def test_looking_into_the_cache_imports_no_torch():
    code = (
        "import sys; from side4video.models.towers.cached_weights import cached_weights; cached_weights(); "
        "print('torch' in sys.modules, 'open_clip' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["False", "False"], done.stderr
