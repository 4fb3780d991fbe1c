"""An exported folder is whole or absent on a full disk, and two commands do not write the same one."""

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors import SafetensorError
from safetensors import torch as safetensors_torch

from side4video.apps.export.command import export
from side4video.core.errors import InputError
from side4video.core.whole_folder import hold_folder
from side4video.spec import bundle as bundles
from side4video.spec.bundle import read_bundle


def call(run, folder, *options):
    return CliRunner().invoke(export, [run.run_id, str(folder), "--with-backbone", *options])


class FullDisk:
    """Writing a file of the folder fails from the n-th file on, in the middle of it."""

    def __init__(self, monkeypatch, after):
        self.left = after
        copy, save, write = shutil.copyfile, safetensors_torch.save_file, Path.write_text
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save_error = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

        def limited(writer, error):
            def attempt(first, second, *rest, **options):
                self.left -= 1
                if self.left < 0:
                    path = first if writer is write else second
                    write(Path(path), "half of it", encoding="utf-8")
                    raise error
                return writer(first, second, *rest, **options)

            return attempt

        monkeypatch.setattr(bundles.shutil, "copyfile", limited(copy, full))
        monkeypatch.setattr(safetensors_torch, "save_file", limited(save, save_error))
        monkeypatch.setattr(
            Path, "write_text", lambda *arguments, **options: limited(write, full)(*arguments, **options)
        )


@pytest.mark.parametrize("after", range(5))
def test_a_full_disk_leaves_no_folder_and_the_same_command_goes_on(after, run, tmp_path, monkeypatch):
    folder, write_bundle = tmp_path / "model", bundles.write_bundle

    def fills_up(*arguments, **options):
        with monkeypatch.context() as patch:
            FullDisk(patch, after)
            return write_bundle(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(bundles, "write_bundle", fills_up)
        done = call(run, folder)
    assert isinstance(done.exception, InputError), done.exception
    message = (
        rf"{re.escape(str(folder))}: no space left on the device: [\d.]+ KiB wanted, .* free · fix: make room there"
    )
    assert re.match(message, str(done.exception))
    assert list(tmp_path.iterdir()) == []
    assert call(run, folder).exit_code == 0
    read_bundle(folder)


def test_the_second_command_is_told_of_the_first(run, tmp_path):
    with hold_folder(tmp_path / "model"):
        done = call(run, tmp_path / "model")
    assert isinstance(done.exception, InputError)
    assert re.search(rf"model: process {os.getpid()} on .* works on it since .* · fix: wait until", str(done.exception))
    assert call(run, tmp_path / "model").exit_code == 0
    assert "it is there already" in str(call(run, tmp_path / "model").exception)


def test_what_another_wrote_between_the_check_and_the_lock_is_kept(run, tmp_path, monkeypatch):
    """The first check is before the lock."""
    import side4video.core.whole_folder as whole_folders

    def writes_first(folder):
        folder.mkdir()
        (folder / "theirs").write_text("theirs")
        return hold(folder)

    hold = whole_folders.hold_folder
    monkeypatch.setattr(whole_folders, "hold_folder", writes_first)
    done = call(run, tmp_path / "model")
    assert "it is there already" in str(done.exception)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["theirs"]


SAVES = """
import resource, sys
from pathlib import Path
import torch
from side4video.apps.export.graph import _save

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(50_000))
    def forward(self, given):
        return given + self.weight

program = torch.export.export(Model(), (torch.zeros(50_000),))
for room in map(int, sys.argv[2:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    try:
        _save(program, Path(sys.argv[1]), about="{}")
        print("written")
    except Exception as error:
        print(type(error).__name__, error)
"""


def test_a_graph_on_a_full_disk_is_an_error_and_no_end_of_the_process(tmp_path):
    """Torch's own writer calls `abort` when a write fails; a limit of the process stands for the disk."""
    command = [sys.executable, "-c", SAVES, str(tmp_path / "graph.pt2"), "0", "1000", "150000", "201000", "1000000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *failed, written = done.stdout.splitlines()
    assert written == "written"
    assert len(failed) == 4
    for line in failed:
        assert line.startswith(f"InputError {tmp_path}/graph.pt2: the file is too large for its file system, or for ")
    found = torch.export.load(tmp_path / "graph.pt2").module()
    assert torch.equal(found(torch.ones(50_000)), torch.full((50_000,), 2.0))
    assert [path.name for path in tmp_path.iterdir()] == ["graph.pt2"]
