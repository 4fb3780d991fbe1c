"""Recorded runs of any origin in one table, from a real store: what keeps them apart is named."""

import itertools

import pytest

import sweeps
from side4video.core.errors import InputError
from side4video.core.metric import Metric
from side4video.reports import comparable
from side4video.reports.comparable import as_compared, check_runs, shown_of
from side4video.reports.stored_sweep import check_sweep
from side4video.spec.protocol import describe_differences
from side4video.tracking.mlflow.store import MLflowStore
from side4video.tracking.pack_logger import PREDICTED, open_pack_logger
from side4video.tracking.sweep_logger import open_sweep_logger
from side4video.tracking.tags import DIGEST_TAG, FINGERPRINT_TAG, STATE_TAG, SWEEP_TAG
from tiny import tiny

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIDE4VIDEO_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield MLflowStore().prepare()


def recorded(store, fingerprint="one set of clips", videos=20.0, *, state="finished", tags=None, **changes):
    """The id of a run as a pack logger writes it."""
    spec = tiny(**changes)
    plans = {"run": dict.fromkeys(PREDICTED, 1.0)}
    pack_logger = open_pack_logger(
        {"run": spec}, plans=plans, fingerprint=fingerprint, checkpoint_folder=f"/nowhere/{next(NUMBERS)}"
    )
    run_id = pack_logger.run_ids["run"]
    figures = {"eval/top1": 0.5} | ({"eval/videos": videos} if videos else {})
    store.log(run_id, [Metric(name, value, 0, 1_700_000_000_000) for name, value in figures.items()])
    store.set_tags(run_id, {STATE_TAG: state, **(tags or {})})
    store.finish(run_id)
    return run_id


def comparable_runs(store, names, *, metrics=(), shown=(), anyway=()):
    """Runs of a store in one table, and the differences between them that it states."""
    runs = [store.find(name) for name in names]
    compared = [as_compared(run, shown=shown_of(run, shown)) for run in runs]
    fix = "leave some out, or allow it: anyway=['{field}']"
    return runs, check_runs(compared, where="runs", metrics=metrics, anyway=anyway, fix=fix)


def complaint(store, *runs, **options):
    with pytest.raises(InputError) as caught:
        comparable_runs(store, runs, **options)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_runs_that_differ_in_how_they_were_trained_are_given(store):
    ids = [
        recorded(store),
        recorded(store, method={"layers": 1}),
        recorded(store, seed=3, optimization={"batch_size": 4}),
    ]
    runs, found = comparable_runs(store, ids)
    assert [run.run_id for run in runs] == ids
    assert found == []


def test_runs_of_other_data_are_refused(store):
    one, other = recorded(store), recorded(store, "another set of clips", videos=30.0)
    line = complaint(store, one, other)
    for word in (
        "runs: data.dataset: fingerprint one set of c in tiny (",
        f"{other[:8]})",
        "fingerprint another set",
        "allowed: ",
    ):
        assert word in line, line
    assert "\n" not in line


def test_the_documents_say_what_may_be_the_reason(store):
    other = recorded(store, "another set of clips", data={"dataset": {"seed": 5}})
    assert "(their documents differ in data.dataset.seed)" in complaint(store, recorded(store), other)


def test_a_run_that_says_nothing_of_its_data_is_refused(store):
    silent = recorded(store, "")
    assert "not recorded in tiny" in complaint(store, recorded(store), silent)


def test_twin_that_does_not_look_at_the_fingerprint(store, monkeypatch):
    monkeypatch.setattr(comparable, "FINGERPRINT_TAG", STATE_TAG)
    comparable_runs(store, [recorded(store), recorded(store, "another set of clips")])


PROTOCOL = {
    "data.frames": ({"data": {"frames": 8}}, ["4 in tiny", "8 in tiny"]),
    "data.views.crops": ({"data": {"views": {"crops": 3}}}, ["1 in tiny", "3 in tiny"]),
    "data.sampling": ({"data": {"sampling": {"kind": "dense"}}}, ["segment or centre in", "dense, stride 8 in"]),
    "data.augmentation.resize": (
        {"data": {"augmentation": {"resize": {"kind": "short-side", "pixels": 48}}}},
        ["short side 37 in", "short side 48 in"],
    ),
    "data.train_fraction": ({"data": {"train_fraction": 0.5}}, ["1.0 in", "0.5 in"]),
    "evaluation.precision": ({"evaluation": {"precision": "bf16"}}, ["fp32 in", "bf16 in"]),
}


@pytest.mark.parametrize("field", PROTOCOL)
def test_another_protocol_is_refused_shown_or_allowed(store, field):
    changes, words = PROTOCOL[field]
    ids = [recorded(store), recorded(store, **changes)]
    line = complaint(store, *ids)
    for word in (f"runs: {field}: ", *words, f"anyway=['{field}']"):
        assert word in line, line
    _, found = comparable_runs(store, ids, shown=[field])
    assert [each.is_hidden for each in found] == [False]
    _, found = comparable_runs(store, ids, anyway=[field])
    assert describe_differences(found)[0].startswith(f"Compared although {field} differs: ")


def test_several_differences_are_told_at_once(store):
    other = recorded(store, "another set of clips", data={"frames": 8, "views": {"clips": 2}})
    lines = complaint(store, recorded(store), other).splitlines()
    assert [line.split(": ")[1] for line in lines] == ["data.frames", "data.views.clips", "data.dataset"]


def test_fewer_videos_are_refused_where_both_say_it(store):
    one, fewer, silent = recorded(store), recorded(store, videos=19.0), recorded(store, videos=0.0)
    assert "eval/videos: 20 in" in complaint(store, one, fewer)
    comparable_runs(store, [one, silent])


def test_a_run_that_is_not_there_is_named(store):
    with pytest.raises(InputError, match="no run has this name or id"):
        comparable_runs(store, ["nobody"])


# ---- the arms of a sweep, as they were recorded


def sweep_of(store, *arms, **named):
    """A sweep and its record; each arm's run with what it says of its data."""
    sweep = sweeps.make_sweep("recorded", {"seed": 0}, grid={"method.layers": [1, 2]}, **named)
    record = open_sweep_logger(sweep, key=f"key {next(NUMBERS)}", plan={})
    for arm, options in zip(sweep.arms, arms, strict=True):
        tags = {SWEEP_TAG: record.key, DIGEST_TAG: arm.key}
        recorded(store, **{"tags": tags, "method": {"layers": arm.experiment.method.layers}, **options})
    return record, sweep


def test_arms_of_the_same_data_are_compared_without_a_word(store):
    record, sweep = sweep_of(store, {}, {})
    assert check_sweep(record, sweep.spec, sweep.rows) == []


def test_an_arm_of_other_data_is_refused(store):
    record, sweep = sweep_of(store, {}, {"fingerprint": "another set of clips"})
    with pytest.raises(InputError) as caught:
        check_sweep(record, sweep.spec, sweep.rows)
    for word in (
        "recorded: data.dataset: fingerprint one set of c in layers=1",
        "in layers=2",
        "compare_anyway: [data.dataset]",
    ):
        assert word in str(caught.value), str(caught.value)


def test_an_arm_of_other_data_without_figures_is_not(store):
    record, sweep = sweep_of(store, {}, {"fingerprint": "another set of clips", "state": "failed"})
    assert check_sweep(record, sweep.spec, sweep.rows) == []


def test_twin_that_compares_documents_alone(store, monkeypatch):
    record, sweep = sweep_of(store, {}, {"fingerprint": "another set of clips"})
    monkeypatch.setattr(comparable, "FINGERPRINT_TAG", STATE_TAG)
    assert check_sweep(record, sweep.spec, sweep.rows) == []


def test_a_sweep_may_compare_them_anyway_and_says_so(store):
    record, sweep = sweep_of(store, {}, {"fingerprint": "another set of clips"}, compare_anyway=["data.dataset"])
    (sentence,) = check_sweep(record, sweep.spec, sweep.rows)
    assert sentence.startswith("Compared although data.dataset differs: ")


def test_tags_are_the_journals():
    assert comparable.FINGERPRINT_TAG == FINGERPRINT_TAG
