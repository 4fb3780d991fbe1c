"""Scripts that call the platform outside `if __name__ == "__main__":` learn what happens before a run is recorded."""

import os
import subprocess
import sys

import pytest

from side4video.core.main_guard import check_main_guard, script_without_guard

POOL = """
from side4video.core.worker_pool import WorkerPool
from operator import neg

{begin}
    with WorkerPool(1) as pool:
        print(sorted(result for _, result in pool.map_unordered(neg, [1, 2])))
"""
LAUNCH = """
import sys
sys.path.insert(0, {support!r})
from side4video.core.progress import SILENT
from side4video.runs.launch import launch
from tiny import tiny

{begin}
    launch({{"a": tiny(data={{"loader": {{"workers": 1}}}})}}, progress=SILENT)
"""
GUARDED, BARE = 'if __name__ == "__main__":', "if True:"


def script(folder, text):
    (folder / "script.py").write_text(text)
    environment = {**os.environ, "SIDE4VIDEO_HOME": str(folder / "home")}
    command = [sys.executable, str(folder / "script.py")]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


def test_this_process_is_guarded():
    assert script_without_guard() is None
    check_main_guard()


@pytest.mark.slow
def test_a_guarded_script_decodes(tmp_path):
    done = script(tmp_path, POOL.format(begin=GUARDED))
    assert (done.returncode, done.stdout) == (0, "[-2, -1]\n"), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("text", [POOL, LAUNCH], ids=["pool", "launch"])
def test_a_bare_script_is_named(tmp_path, text):
    support = os.path.join(os.path.dirname(__file__), "..", "..", "support")  # noqa: PTH118, PTH120
    done = script(tmp_path, text.format(begin=BARE, support=support))
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "script.py: each process that decodes videos runs this script once more" in last
    assert 'if __name__ == "__main__":' in last
    assert "out of memory" not in done.stderr
    assert not (tmp_path / "home" / "mlflow.db").exists()
