"""What a stopped run leaves to continue from, in words."""

import json

import pytest

from side4video.runs.checkpoint_folders import SNAPSHOT, kept_text


def put(folder, name, **state):
    (folder / name).mkdir(parents=True)
    (folder / name / "checkpoint.json").write_text(json.dumps(state))


@pytest.mark.parametrize("name", ["checkpoint-{:012d}", "checkpoint_{:012d}_53773f5c"])
def test_the_newest_checkpoint_is_named(tmp_path, name):
    put(tmp_path, name.format(5), epoch=0, next_step=5)
    put(tmp_path, name.format(10), epoch=1, next_step=10)
    assert kept_text(str(tmp_path)) == "kept: the checkpoint of epoch 2, step 10"


def test_one_that_was_not_finished_is_passed_over(tmp_path):
    put(tmp_path, "checkpoint-000000000005", epoch=0, next_step=5)
    put(tmp_path, "checkpoint-000000000010.partial", epoch=1, next_step=10)
    (tmp_path / "checkpoint-000000000015").mkdir()
    put(tmp_path, "checkpoint-000000000020", epoch=None)
    assert kept_text(str(tmp_path)) == "kept: the checkpoint of epoch 1, step 5"


@pytest.mark.parametrize(
    ("text", "step"), [('{"checkpoint_results": [{"checkpoint_dir_name": "%s"}]}', 5), ("%s{", 10)]
)
def test_a_checkpoint_that_ray_train_does_not_know_is_not_continued_from(tmp_path, text, step):
    names = [f"checkpoint_{number:012d}_5377" for number in (5, 10)]
    for epoch, name in enumerate(names):
        put(tmp_path, name, epoch=epoch, next_step=5 * (epoch + 1))
    (tmp_path / SNAPSHOT).write_text(text % names[0])
    assert kept_text(str(tmp_path)) == f"kept: the checkpoint of epoch {step // 5}, step {step}"


def test_without_any_it_says_so(tmp_path):
    assert kept_text(str(tmp_path / "none")) == "nothing is kept: there is no checkpoint yet"


def test_another_place_is_not_looked_at():
    assert kept_text("s3://bucket/runs/a") == "kept: the newest checkpoint in s3://bucket/runs/a"
