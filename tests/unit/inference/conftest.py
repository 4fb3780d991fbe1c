"""One finished run for all the tests of exported models."""

import pytest

from side4video.core.progress import SILENT
from side4video.runs.launch import launch
from tiny import tiny


def quiet(message):
    pass


@pytest.fixture(scope="package")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIDE4VIDEO_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        spec = tiny(name="exported", data={"views": {"clips": 2, "crops": 3}})
        yield launch({"tiny": spec}, progress=SILENT)["tiny"]
