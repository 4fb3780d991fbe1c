"""Ctrl-C during a run: one line says what is kept and how to go on, with Ray and without; and it goes on from there."""

import os
import re
import shlex
import signal
import subprocess
import sys

import pytest
import yaml

from tiny import DOCUMENT, merged

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.alone, pytest.mark.timeout(600)]
LONG = merged(DOCUMENT, {"optimization": {"batch_size": 4, "length": {"epochs": 100}}})


@pytest.mark.parametrize("options", [["--local"], []])
def test_it_says_what_is_kept_and_how_to_go_on(tmp_path, options):
    (tmp_path / "long.yaml").write_text(yaml.safe_dump(LONG))
    environment = {**os.environ, "SIDE4VIDEO_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "side4video"]
    process = subprocess.Popen(
        [*command, "run", "long.yaml", *options],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("tiny: epoch 3:"):
            process.send_signal(signal.SIGINT)
            break
    rest = process.stderr.read()
    assert process.wait(120) == 130, rest
    (said,) = [line for line in rest.splitlines() if line.startswith("interrupted")]
    kept = re.search(r"kept: the checkpoint of epoch (\d+), step (\d+)", said)
    assert kept is not None, said
    epoch, step = map(int, kept.groups())
    assert epoch >= 2
    assert step == 5 * epoch
    way = shlex.split(said.partition("continue with: side4video ")[2])
    assert way == ["run", "long.yaml", *options, "--go-on"]
    # With fewer epochs it would be another run: let it end by SIGTERM once it went on.
    process = subprocess.Popen([*command, *way], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    begun = next(line for line in process.stderr if line.startswith("tiny: training "))
    process.terminate()
    process.stderr.read()
    assert process.wait(120) == 143
    assert int(begun.split()[2].partition("/")[0]) >= step
