"""Weights that open_clip knows by name: from the cache, or one clear line."""

import errno

import pytest
from safetensors.torch import save_file

from side4video.core.errors import InputError
from side4video.models.backbones import OpenCLIPSpec
from side4video.models.towers import download as download_module
from side4video.models.towers import load
from weight_states import prefixed, state_of


def test_a_tag_that_cannot_be_downloaded_is_one_line(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(download_module, "find_in_cache", lambda weights: None)
    spec = OpenCLIPSpec(model="ViT-B-16-quickgelu", weights={"kind": "pretrained", "tag": "openai"})
    with pytest.raises(InputError) as caught:
        spec.build()
    text = str(caught.value)
    assert text.startswith("backbone.weights.tag: the weights 'openai' of ViT-B-16-quickgelu are not in the cache")
    assert "fix: without network, use weights: {kind: file, path: ...}" in text
    assert "\n" not in text


def test_offline_nothing_is_asked_of_the_network(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(download_module, "find_in_cache", lambda weights: None)
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        download_module.download("ViT-B-16-quickgelu", "openai", where="backbone.weights.tag")


def test_a_full_disk_is_not_taken_for_a_missing_network(monkeypatch, tmp_path):
    def full(repository, name):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "blob.incomplete"))

    monkeypatch.setattr(download_module, "find_in_cache", lambda weights: None)
    monkeypatch.setattr(download_module, "check_hub", lambda: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", full)
    with pytest.raises(
        InputError, match=f"^{tmp_path}/blob.incomplete: no space left on the device: .* fix: make room"
    ):
        download_module.download("ViT-B-16-quickgelu", "openai", where="backbone.weights.tag")


def test_an_unknown_tag_names_those_there_are():
    with pytest.raises(InputError, match=r"allowed: openai, .*metaclip_400m"):
        download_module.download("ViT-B-16-quickgelu", "openia", where="backbone.weights.tag")


def test_a_cached_file_is_taken_without_asking_the_hub(monkeypatch, tmp_path):
    import huggingface_hub

    asked = []
    cached = tmp_path / "open_clip_model.safetensors"
    cached.touch()

    def look(repository, name):
        asked.append((repository, name))
        return str(cached) if name.endswith(".safetensors") else None

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", look)
    monkeypatch.setattr(download_module, "check_hub", lambda: pytest.fail("the hub was asked"))
    assert download_module.download("ViT-B-16-quickgelu", "openai", where="") == cached
    assert asked == [("timm/vit_base_patch16_clip_224.openai", "open_clip_model.safetensors")]


def test_a_file_of_the_other_name_is_taken_where_the_preferred_one_is_missing(monkeypatch, tmp_path):
    from huggingface_hub.errors import EntryNotFoundError

    def give(repository, name):
        if name.endswith(".safetensors"):
            raise EntryNotFoundError(name)
        return str(tmp_path / name)

    monkeypatch.setattr(download_module, "find_in_cache", lambda weights: None)
    monkeypatch.setattr(download_module, "check_hub", lambda: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", give)
    path = download_module.download("vit_small_patch14_reg4_dinov2", "lvd142m", where="backbone.weights.tag")
    assert path == tmp_path / "pytorch_model.bin"


def test_pretrained_weights_are_checked_as_strictly_as_files(monkeypatch, tmp_path, source):
    path = tmp_path / "open_clip_model.safetensors"
    save_file(prefixed(state_of(source), "visual."), path)
    monkeypatch.setattr(load, "download", lambda model, tag, where: path)
    spec = OpenCLIPSpec(model="ViT-B-32-quickgelu", weights={"kind": "pretrained", "tag": "openai"})
    with pytest.raises(InputError, match=r"^backbone\.weights\.tag \(open_clip_model\.safetensors\): .*does not fit"):
        spec.build()
