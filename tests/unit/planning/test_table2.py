"""The paper's Table 2, counted from the files in `experiments/ssv2` without a GPU, weights or videos."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from side4video.cli.plan import plan

ROOT = Path(__file__).resolve().parents[3]
TABLE = {
    # file: trained parameters (exact), multiply-adds of three views in G, the paper's own figure
    "vitb16-light": (4_530_414, 444.5, 445),
    "vitb16": (21_112_686, 527.1, 528),
    "vitl14-light": (21_948_270, 2090.0, 2092),
    "vitl14": (102_108_846, 2607.9, 2611),
}


@pytest.mark.parametrize("name", TABLE)
def test_row(name):
    result = CliRunner().invoke(plan, [str(ROOT / "experiments/ssv2" / f"{name}.yaml"), "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    parameters, multiply_adds, paper = TABLE[name]
    assert figures["trainable_parameters"] == parameters
    assert figures["views"] == 3
    assert figures["classes"] == 174
    assert figures["multiply_adds_all_views"] / 1e9 == pytest.approx(multiply_adds, rel=0.005)
    assert figures["multiply_adds_all_views"] / 1e9 == pytest.approx(paper, rel=0.005)
    assert figures["multiply_adds"] * 3 == figures["multiply_adds_all_views"]


def test_a_twin_with_one_more_block_is_another_row():
    file = str(ROOT / "experiments/ssv2/vitb16-light.yaml")
    changes = ["--set", "method={kind: side4video, layers: 7, dim: 192}"]
    figures = json.loads(CliRunner().invoke(plan, [file, "--json", *changes]).stdout)
    assert figures["trainable_parameters"] != TABLE["vitb16-light"][0]
    assert abs(figures["multiply_adds_all_views"] / 1e9 / 444.5 - 1) > 0.002


def test_tds_clips_row_has_the_authors_parameters():
    """24,224,526: Side4Video's, a second stem of 2,950,080 and twelve gates of 13,480 in all."""
    file = str(ROOT / "experiments/ssv2/vitb16.yaml")
    changes = ["method.stem=differences", "method.temporal_gate=difference", "data.neighbours=2"]
    result = CliRunner().invoke(plan, [file, "--json", *(part for each in changes for part in ("--set", each))])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert figures["trainable_parameters"] == 24_224_526
    assert figures["multiply_adds"] / 1e9 == pytest.approx(180.6, rel=0.005)
