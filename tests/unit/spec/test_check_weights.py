"""A run looks for weights before anything starts: what is missing ends it at once and leaves nothing behind."""

import pytest
import yaml
from click.testing import CliRunner
from huggingface_hub import constants

import sweeps
from side4video.cli.main import cli
from side4video.core.errors import InputError
from side4video.core.progress import SILENT
from side4video.models.towers import cached_weights
from side4video.runs.launch import launch
from side4video.runs.smoke_test import smoke_test
from side4video.runs.sweep import prepare_sweep
from side4video.spec.check_videos import check_experiments
from side4video.spec.check_weights import check_weights, describe_weights
from tiny import DOCUMENT, tiny

B32 = {
    "kind": "open-clip",
    "model": "ViT-B-32-quickgelu",
    "weights": {"kind": "pretrained", "tag": "openai"},
    "precision": "fp32",
}
MISSING = r"^backbone\.weights\.tag: the weights 'openai' of ViT-B-32-quickgelu are not in the cache"


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """Files in the cache; empty at first. The hub cannot be reached."""
    there = {}
    monkeypatch.setattr(cached_weights, "find_in_cache", lambda weights: there.get(f"{weights.repository}/"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    return there


def pretrained():
    return tiny(backbone=B32, data={"size": 224})


class Elsewhere:
    """A trainer whose workers are on other machines; it starts, and then ends the test."""

    can_stop_arms = False
    is_on_this_machine = False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def start(self):
        raise RuntimeError("it starts")


class Here(Elsewhere):
    is_on_this_machine = True


@pytest.mark.parametrize(("there", "answers", "is_refused"), [(0, 0, True), (1, 0, False), (0, 1, False)])
def test_weights_are_in_the_cache_or_the_hub_answers(cache, there, answers, is_refused):
    if there:
        cache["timm/vit_base_patch32_clip_224.openai/"] = "model.safetensors"
    if not is_refused:
        check_weights([pretrained(), pretrained()], can_reach=lambda seconds: bool(answers))
        return
    with pytest.raises(InputError, match=MISSING):
        check_weights([tiny(), pretrained()], can_reach=lambda seconds: bool(answers))


def test_the_hub_is_asked_once_for_experiments_with_the_same_weights(cache):
    asked = []
    check_weights([pretrained()] * 3, can_reach=lambda seconds: asked.append(seconds) or True)
    assert asked == [3.0]


def test_a_missing_file_is_told(tmp_path):
    spec = tiny(backbone={"weights": {"kind": "file", "path": f"{tmp_path}/none.safetensors"}})
    with pytest.raises(InputError, match="does not exist"):
        check_weights([spec])


def test_a_run_without_weights_ends_before_a_store_is_opened(cache, tmp_path):
    with pytest.raises(InputError, match=MISSING):
        launch({"a": pretrained()}, progress=SILENT, trainer=Here())
    assert not (tmp_path / "home").exists()
    with pytest.raises(RuntimeError, match="it starts"):  # workers elsewhere have files of their own
        launch({"a": pretrained()}, progress=SILENT, trainer=Elsewhere())
    cache["timm/vit_base_patch32_clip_224.openai/"] = "model.safetensors"
    with pytest.raises(RuntimeError, match="it starts"):
        launch({"a": pretrained()}, progress=SILENT, trainer=Here())


@pytest.mark.parametrize("option", [["--local"], [], ["--smoke"]])
def test_the_command_ends_with_code_2_and_leaves_nothing(cache, tmp_path, option):
    document = {**DOCUMENT, "backbone": B32, "data": {**DOCUMENT["data"], "size": 224}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(document))
    done = CliRunner().invoke(cli, ["run", str(tmp_path / "tiny.yaml"), *option])
    assert isinstance(done.exception, InputError)
    assert done.exception.exit_code == 2
    assert not (tmp_path / "home").exists()


def test_a_smoke_test_ends_too(cache):
    with pytest.raises(InputError, match=MISSING):
        smoke_test(pretrained(), SILENT)


def test_a_sweep_ends_before_ray_starts(cache):
    sweep = sweeps.make_sweep("swept", {"backbone": B32, "data": {"size": 224}}, grid={"seed": [0, 1]})
    with pytest.raises(InputError, match=MISSING):
        prepare_sweep(sweep, progress=SILENT, trainer=Here())
    with pytest.raises(RuntimeError, match="it starts"):
        prepare_sweep(sweep, progress=SILENT, trainer=Elsewhere())


def test_validate_says_whether_they_are_here(cache):
    assert describe_weights(pretrained()) == "the weights are not on this machine; a run downloads them"
    assert str(check_experiments([("", pretrained())])).endswith("; a run downloads them")
    cache["timm/vit_base_patch32_clip_224.openai/"] = "model.safetensors"
    assert describe_weights(pretrained()) == "the weights were not read"
    assert describe_weights(tiny()) == ""
