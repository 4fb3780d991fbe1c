"""Descriptions of runs, experiments and sweeps: what is told, what is hidden, and that the last one stays alone."""

import re
from dataclasses import replace

import pytest

from side4video.tracking.description import (
    FIGURE_PIXELS,
    ON_A_CPU,
    RunSummary,
    current_command,
    failure_description,
    reused_description,
    run_description,
    small_figure,
    sweep_description,
)
from side4video.tracking.mlflow.compat import DESCRIPTION_TAG
from side4video.tracking.mlflow.parameters import TAG_LIMIT
from side4video.tracking.pack_logger import PackLogger
from side4video.tracking.tags import EXPERIMENT_DESCRIPTION
from tiny import tiny

PLAN = {
    "peak_memory_gib": 0.05,
    "held_for_backward_gib": 0.5,
    "trainable_parameters": 1234567,
    "multiply_adds": 5.2e9,
    "parts": {"tower": 1},
}
RESULT = {
    "state": "finished",
    "steps": 10,
    "steps_trained": 10,
    "metrics": {"eval/top1": 0.95, "eval/top5": 1.0, "eval/videos": 240.0, "best/top1": 0.9625, "best/epoch": 2.0},
    "memory": {"held_for_backward_gib": 0.5, "peak_gib": 0.02, "process_gib": 1.0},
    "time": {"total_s": 130.0, "clips_per_s": 139.25},
    "trainable_parameters": 1234567,
    "backbone_fingerprint": "ab",
    "broken_clips": [],
    "notes": ["Went on from step 5 after a worker died."],
}


def about(command="side4video run a.yaml", **pack_predicted):
    return RunSummary.of(tiny(), PLAN, protocol="4 frames of 32", pack_predicted=pack_predicted, command=command)


def test_the_headline_comes_first_and_prediction_stands_beside_measurement():
    note = run_description(about(), "0123456789abcdef", RESULT)
    assert note.splitlines()[0] == "**95.0% top-1**, 100.0% top-5 of 240 videos; best 96.2% in epoch 3"
    assert "| held for backward | 512.0 MiB | 512.0 MiB |" in note
    assert "| peak memory | 51.2 MiB | 20.5 MiB |" in note
    assert ON_A_CPU in note
    assert "| trained parameters | 1,234,567 | 1,234,567 |" in note
    assert "| multiply-adds of a view | 5.2 G |  |" in note
    assert "| training time |  | 2 min 10 s |" in note
    assert "139.2 clips/s" in note
    assert "`side4video` on a frozen `vit`, `motion` data, 4 frames of 32" in note
    assert "- Went on from step 5 after a worker died." in note
    assert "side4video register 01234567" in note
    assert note.endswith("```\n# created by\nside4video run a.yaml\n```")


def test_an_arm_of_a_pack_on_a_gpu_has_the_packs_peak():
    pack_predicted = {"plan/pack_arms": 9.0, "plan/pack_peak_memory_gib": 2.0}
    device = {**RESULT, "memory": {"held_for_backward_gib": 0.5, "peak_gib": 1.5, "reserved_gib": 1.75}}
    note = run_description(about(**pack_predicted), "0123456789abcdef", device)
    assert "| peak memory of the pack | 2.00 GiB | 1.50 GiB |" in note
    assert "Trained in one pack with 8 other arms" in note
    alone = run_description(about(), "0123456789abcdef", device)
    assert "| peak memory | 51.2 MiB | 1.50 GiB |" in alone
    assert ON_A_CPU not in note + alone


def test_a_run_that_found_nothing_says_so():
    diverged = {**RESULT, "state": "diverged", "metrics": {}}
    note = run_description(about(), "0123456789abcdef", diverged)
    assert note.startswith("**diverged** · No evaluation.")
    assert "use it" not in note
    failed = failure_description(about(), "no <b>file</b>\n[here](x) *now*", killed=False)
    assert failed.startswith(r"**Failed**: no \<b\>file\</b\> \[here\](x) \*now\*")
    assert failure_description(about(), "Ctrl-C", killed=True).startswith("**Interrupted**: Ctrl-C")
    shown = failure_description(about(), "class \x1b[31m &lt;", killed=False)
    assert r"class \\u001b\[31m \&lt;" in shown


def test_retrieval_is_told_in_recalls():
    metrics = {"eval/t2v_r1": 0.1, "eval/v2t_r1": 0.2, "best/t2v_r1": 0.3, "best/epoch": 0.0}
    line = run_description(about(), "0123456789abcdef", {**RESULT, "metrics": metrics}).splitlines()[0]
    assert line == "**10.0% text to video R@1**, 20.0% video to text R@1; best 30.0% in epoch 1"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["/x/bin/side4video", "run", "a b.yaml"], "side4video run 'a b.yaml'"),
        (["/x/side4video/__main__.py", "sweep", "s.yaml"], "side4video sweep s.yaml"),
        (["/x/bin/pytest", "-q"], ""),
        ([], ""),
    ],
)
def test_the_command_is_a_persons_own(words, told):
    assert current_command(words) == told


def test_a_command_with_a_fence_stays_code():
    shown = failure_description(replace(about(), command="side4video run '```' \x1b"), "a", killed=False)
    assert shown.endswith("````\n# created by\nside4video run '```' \\u001b\n````")


def test_no_secret_of_the_command_is_told():
    words = ["side4video", "run", "a.yaml", "--set", "tracking.uri=https://me:hunter2@host/", "HF_TOKEN=hf_abc"]
    assert not re.search("hunter2|hf_abc", current_command(words))


COMPARISON = (
    "# title\n\nA note.\n\n| arm | Δ [95% CI] (points) |\n| --- | ---: |\n| a | \\<0.1 [-1.0, +2.0] |\n\n"
    "- Explained.\n\n![Which](parallel-coordinates.png)\n\n![Memory](pareto.png)\n"
)


def describe(comparison=COMPARISON):
    return sweep_description(
        comparison,
        run_id="ab12",
        experiment_id="7",
        arms=["r1", "r2"],
        metrics=["memory/peak_gib", "eval/top1"],
        view="key",
        command="side4video sweep s.yaml",
    )


def test_a_sweep_links_to_its_arms_and_shows_table_and_figures():
    note = describe()
    assert note.startswith(
        "**title**\n\n[The arms in charts](#/experiments/7/runs?compareRunsMode=CHART&viewStateShareKey=key"
    )
    assert "](#/compare-runs?runs=%5B%22r1%22%2C%22r2%22%5D" in note
    assert r"| arm | Δ \[95% CI] (points) |" in note  # else it would be a link
    assert "| a | &lt;0.1 " in note
    assert "![Which](get-artifact?path=note/parallel-coordinates.png&run_uuid=ab12)" in note
    assert "![Memory](get-artifact?path=note/pareto.png&run_uuid=ab12)" in note
    assert note.endswith("side4video sweep s.yaml\n```")


def test_a_table_that_is_too_long_is_left_to_the_report():
    long = describe(COMPARISON.replace("| a |", f"| {'a' * TAG_LIMIT} |"))
    assert len(long) <= TAG_LIMIT
    assert "aaaa" not in long
    assert "get-artifact?path=note/pareto.png" in long
    assert long.endswith("side4video sweep s.yaml\n```")


def test_of_a_long_table_the_first_rows_stay():
    rows = "".join(f"| arm {number} | {'x' * 40} |\n" for number in range(400))
    note = describe(COMPARISON.replace("| a |", f"{rows}| a |"))
    assert len(note) <= TAG_LIMIT
    assert "| arm 0 |" in note
    assert "| arm 399 |" not in note
    assert " more rows in the report." in note
    assert note.endswith("side4video sweep s.yaml\n```")
    assert "more rows" not in describe()


def test_a_figure_is_as_wide_as_a_description(tmp_path):
    from PIL import Image

    Image.new("RGB", (1520, 400), "red").save(tmp_path / "a.png")
    (tmp_path / "small").mkdir()
    with Image.open(small_figure(tmp_path / "a.png", tmp_path / "small")) as image:
        assert image.size == (FIGURE_PIXELS, 200)


def test_an_adopted_result_names_its_source():
    note = reused_description("**95.0%**", "0123456789", "3")
    assert note.startswith("Copied from [run 01234567](#/experiments/3/runs/0123456789)")
    assert note.endswith("**95.0%**")


# ---- in the store


def test_an_experiment_is_described_when_it_is_made(store):
    experiment = store._client.get_experiment(store.experiment_id)
    assert experiment.tags[DESCRIPTION_TAG] == EXPERIMENT_DESCRIPTION


def close_twice(store, pack_logger_of=PackLogger):
    """A run that failed, was gone on with, and ended."""
    run_id = store.start_run(name="a", key="a")
    pack_logger = pack_logger_of(store, {"a": run_id}, {"a": about()})
    pack_logger.fail("a worker died")
    failed = store.get(run_id).tags[DESCRIPTION_TAG]
    again = store.start_run(name="a", key="a")
    assert again == run_id
    for _ in range(2):
        pack_logger_of(store, {"a": run_id}, {"a": about()}).close("a", RESULT, None)
    return failed, store.get(run_id).tags[DESCRIPTION_TAG]


def test_the_last_description_stays_and_nothing_doubles(store):
    failed, ended = close_twice(store)
    assert failed.startswith("**Failed**: a worker died")
    assert ended == run_description(about(), ended.split("evaluate ")[1][:8], RESULT)


class Appending(PackLogger):
    """Puts each description behind the one before."""

    def close(self, name, result, checkpoint):
        before = self.store.get(self.run_ids[name]).tags[DESCRIPTION_TAG]
        super().close(name, result, checkpoint)
        after = self.store.get(self.run_ids[name]).tags[DESCRIPTION_TAG]
        self.store.set_tags(self.run_ids[name], {DESCRIPTION_TAG: before + after})


def test_twin_that_appends_is_noticed(store):
    _, ended = close_twice(store, Appending)
    assert ended != run_description(about(), ended.split("evaluate ")[1][:8], RESULT)
