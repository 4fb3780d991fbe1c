"""What to change when a plan is over budget: the cheapest change that fits, and the truth where nothing does."""

import functools
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from side4video.core.units import as_gib
from side4video.planning import advice as advice_module
from side4video.planning.advice import advise
from side4video.planning.memory import plan_memory
from side4video.planning.meta_model import build_meta_model
from side4video.spec.load import load_experiment, parse_experiment
from tiny import tiny

EXPERIMENTS = Path(__file__).parents[3] / "experiments"


@pytest.fixture(autouse=True, scope="module")
def _each_change_is_planned_once():
    """The tests ask for advice on the same few documents, which tries the same changes each time."""
    plan, known = advice_module._peak_gib, {}

    def planned(spec, settings, classes):
        key = (spec.model_dump_json(), settings, classes)
        if key not in known:
            known[key] = plan(spec, settings, classes)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(advice_module, "_peak_gib", planned)
        yield


def wasteful():
    return tiny(
        method={"kind": "side4video", "layers": 2, "dim": 128, "recompute": "none"},
        optimization={"batch_size": 64},
        backbone={"kept_tokens": "own-precision"},
    )


def peak(spec):
    return peak_of(spec.model_dump_json())


@functools.cache
def peak_of(document):
    spec = parse_experiment(json.loads(document))
    return as_gib(plan_memory(spec, build_meta_model(spec, classes=10)).peak)


def changed(spec, settings):
    document = spec.resolved()
    for setting in settings:
        path, value = setting.split("=")
        section, field = path.split(".")
        document[section][field] = int(value) if value.isdigit() else value
    return parse_experiment(document)


def test_the_advice_fits_and_says_what_it_leads_to():
    spec = wasteful()
    whole = peak(spec)
    for share in (0.95, 0.7, 0.6):
        advice = advise(spec, classes=10, budget_gib=share * whole)
        assert advice.settings, share
        assert advice.peak_gib <= share * whole
        assert peak(changed(spec, advice.settings)) == pytest.approx(advice.peak_gib)
        assert len(advice.costs) == len(advice.settings)


def test_a_cheap_change_comes_before_a_dear_one():
    spec = wasteful()
    settings = advise(spec, classes=10, budget_gib=0.9 * peak(spec)).settings
    assert len(settings) == 1
    assert not settings[0].startswith("optimization.accumulation")


def test_parts_of_the_batch_come_last_and_say_what_norms_then_see():
    spec = wasteful()
    exact = changed(spec, ["method.recompute=block", "backbone.kept_tokens=8-bit", "backbone.precision=8-bit"])
    advice = advise(spec, classes=10, budget_gib=peak(exact) * 0.9)
    assert any(setting.startswith("optimization.accumulation") for setting in advice.settings)
    assert any("batch norms see" in cost for cost in advice.costs)


def test_where_nothing_fits_it_says_how_near_one_comes():
    advice = advise(wasteful(), classes=10, budget_gib=1e-6)
    assert advice.settings == ()
    assert 0 < advice.peak_gib < peak(wasteful())


def test_the_command_gives_the_change_and_exit_code_one(tmp_path):
    from side4video.cli.plan import plan

    file = tmp_path / "spec.yaml"
    file.write_text(wasteful().model_dump_json())
    budget = 0.95 * peak(wasteful())
    result = CliRunner().invoke(plan, [str(file), "--budget-gib", str(budget), "--classes", "10"])
    assert result.exit_code == 1
    assert "over budget" in result.stderr
    assert "--set " in result.stderr
    assert CliRunner().invoke(plan, [str(file), "--budget-gib", "64", "--classes", "10"]).exit_code == 0


def test_a_batch_of_texts_and_videos_is_never_parted():
    """Its loss compares each text with every video of the batch: the document refuses parts, and so must advice."""
    spec = load_experiment(str(EXPERIMENTS / "quickstart-retrieval.yaml"), ("method.recompute=none", "method.dim=128"))
    whole = peak(spec)
    assert peak(changed(spec, advise(spec, classes=0, budget_gib=0.97 * whole).settings)) <= 0.97 * whole
    assert advise(spec, classes=0, budget_gib=whole / 100).settings == ()
