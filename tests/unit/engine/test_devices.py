"""A device that is not here is refused with the names of those that are."""

import pytest
import torch
from click.testing import CliRunner

import side4video
from side4video.apps.attention.command import attention
from side4video.cli.predict import predict
from side4video.core.errors import InputError
from side4video.engine.process_group import checked_device

WRONG = ("cuda", "cuda:1", "tpu", "cpu:x", "", "mps")


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize("name", [*WRONG, 5, None])
def test_refused(name):
    with pytest.raises(InputError) as caught:
        checked_device(name)
    assert str(caught.value).startswith("device: ")
    assert "allowed: cpu · fix: " in str(caught.value)
    assert ("there is no GPU here" in str(caught.value)) == str(name).startswith("cuda")


def test_taken():
    assert checked_device("cpu") == checked_device(torch.device("cpu")) == torch.device("cpu")


def test_gpus_are_counted(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert checked_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(InputError, match="cuda:2: this machine has 2 GPUs · allowed: cpu, cuda, cuda:0, cuda:1"):
        checked_device("cuda:2")


@pytest.mark.parametrize("device", ["cuda", "tpu"])
@pytest.mark.parametrize("command", [predict, attention])
def test_commands_and_python(command, device):
    done = CliRunner().invoke(command, ["any", "clip.mp4", "--device", device])
    assert isinstance(done.exception, InputError), done.output
    assert str(done.exception).startswith("--device: ")
    with pytest.raises(InputError, match=r"^device: "):
        side4video.load("any", device=device)
