"""Plans that are kept: the same as a new one, never those of another document, and never in the way."""

import functools

import pytest

from side4video.planning import plan_cache
from side4video.planning.memory import plan_memory
from side4video.planning.meta_model import build_meta_model
from tiny import tiny


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path))


def recording():
    """`planned_peak`, and the names of the experiments that it traces."""
    traces = []

    def trace(spec, classes):
        traces.append(spec.name)
        return plan_cache.trace_peak(spec, classes)

    return functools.partial(plan_cache.planned_peak, plan=trace), traces


def test_a_kept_plan_is_the_new_one():
    spec, (planned_peak, traces) = tiny(name="a"), recording()
    first, second = planned_peak(spec, classes=8), planned_peak(spec, classes=8)
    assert traces == ["a"]
    assert first == second
    meta_model = build_meta_model(spec, classes=8)
    assert first.tower_parameters == sum(each.numel() for each in meta_model.tower.parameters())
    assert first.peak == plan_memory(spec, meta_model).peak


def test_another_document_another_head_and_other_code_are_planned_anew():
    planned_peak, traces = recording()
    small = planned_peak(tiny(name="a"), classes=8)
    assert planned_peak(tiny(name="b", optimization={"batch_size": 16}), classes=8) != small
    planned_peak(tiny(name="a"), classes=9)
    planned_peak(tiny(name="a"), classes=8, key=functools.partial(plan_cache.plan_key, code="another version"))
    assert traces == ["a", "b", "a", "a"]


def test_a_twin_that_looks_at_the_name_alone_is_noticed():
    planned_peak = functools.partial(plan_cache.planned_peak, key=lambda spec, classes: spec.name)
    small = planned_peak(tiny(name="a"), classes=8)
    assert planned_peak(tiny(name="a", optimization={"batch_size": 16}), classes=8) == small


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"peak": 1}', '{"peak": 1, "tower_parameters": 2, "more": 3}'])
def test_a_damaged_file_is_planned_over(text, tmp_path):
    spec, (planned_peak, traces) = tiny(name="a"), recording()
    right = planned_peak(spec, classes=8)
    (file,) = (tmp_path / plan_cache.FOLDER).iterdir()
    file.write_text(text)
    assert planned_peak(spec, classes=8) == right
    assert planned_peak(spec, classes=8) == right
    assert traces == ["a", "a"]
    assert [path.name for path in (tmp_path / plan_cache.FOLDER).iterdir()] == [file.name]
