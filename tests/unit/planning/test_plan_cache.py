"""Plans that are kept: the same as a new one, never those of another document, and never in the way."""

import errno

import pytest

from side4video.planning import plan_cache
from side4video.planning.memory import plan_memory
from side4video.planning.meta_model import build_meta_model
from side4video.planning.plan_cache import planned_peak
from tiny import tiny


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path))


@pytest.fixture
def traces(monkeypatch):
    """The names of the experiments that are traced."""
    names, trace_peak = [], plan_cache.trace_peak

    def trace(spec, classes):
        names.append(spec.name)
        return trace_peak(spec, classes)

    monkeypatch.setattr(plan_cache, "trace_peak", trace)
    return names


def test_a_kept_plan_is_the_new_one(traces):
    spec = tiny(name="a")
    first, second = planned_peak(spec, classes=8), planned_peak(spec, classes=8)
    assert traces == ["a"]
    assert first == second
    meta_model = build_meta_model(spec, classes=8)
    assert first.tower_parameters == sum(each.numel() for each in meta_model.tower.parameters())
    assert first.peak == plan_memory(spec, meta_model).peak


def test_another_document_another_head_and_other_code_are_planned_anew(traces, monkeypatch):
    small = planned_peak(tiny(name="a"), classes=8)
    assert planned_peak(tiny(name="b", optimization={"batch_size": 16}), classes=8) != small
    planned_peak(tiny(name="a"), classes=9)
    monkeypatch.setattr(plan_cache, "_code_hash", lambda: "another version")
    planned_peak(tiny(name="a"), classes=8)
    assert traces == ["a", "b", "a", "a"]


def test_a_twin_that_looks_at_the_name_alone_is_noticed(monkeypatch):
    monkeypatch.setattr(plan_cache, "plan_key", lambda spec, classes: spec.name)
    small = planned_peak(tiny(name="a"), classes=8)
    assert planned_peak(tiny(name="a", optimization={"batch_size": 16}), classes=8) == small


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"peak": 1}', '{"peak": 1, "tower_parameters": 2, "more": 3}'])
def test_a_damaged_file_is_planned_over(text, tmp_path, traces):
    spec = tiny(name="a")
    right = planned_peak(spec, classes=8)
    (file,) = (tmp_path / plan_cache.FOLDER).iterdir()
    file.write_text(text)
    assert planned_peak(spec, classes=8) == right
    assert planned_peak(spec, classes=8) == right
    assert traces == ["a", "a"]
    assert [path.name for path in (tmp_path / plan_cache.FOLDER).iterdir()] == [file.name]


def test_a_full_disk_does_not_stop_a_plan(traces, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(plan_cache, "write_atomically", full)
        first = planned_peak(tiny(name="a"), classes=8)
    assert planned_peak(tiny(name="a"), classes=8) == first
    assert traces == ["a", "a"]
