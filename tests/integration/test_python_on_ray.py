"""A program trains on Ray while its event loop goes on, as a cell of a notebook does."""

import asyncio

import pytest

import side4video
from tiny import DOCUMENT

pytestmark = [pytest.mark.slow, pytest.mark.alone]


def test_ray_trains_while_a_loop_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path))

    async def cell():
        turns = 0
        training = asyncio.create_task(
            asyncio.to_thread(side4video.run, DOCUMENT, "name=on-ray", local=False, progress=False)
        )
        while not training.done():
            turns += 1
            await asyncio.sleep(0.05)
        return training.result(), turns

    result, turns = asyncio.run(cell())
    assert (result.name, result.state) == ("on-ray", "finished")
    assert turns > 20
    assert side4video.runs()["run_id"].tolist() == [result.run_id]
