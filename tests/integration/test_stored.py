"""What older versions left on disk is read, resumed, used and delivered by this one: `tests/stored` says what it is.

Each check is a function, and has a twin: the stored thing is damaged or renamed, and the check must fail.
"""

import json
import math
import shutil
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import pytest
from safetensors.torch import load_file

import side4video
import stored_home
from stored_home import Place

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

REPOSITORY = Path(__file__).resolve().parents[2]
VERSIONS = sorted(file.parent for file in (REPOSITORY / "tests/stored").glob("*/home.tar.xz"))


@pytest.fixture(params=VERSIONS, ids=lambda folder: folder.name)
def version(request):
    return request.param


OTHER_PROCESSOR = 1e-2
"""Largest difference of losses and weights on a processor that adds in another order. Nearly all differ by 1e-6, but a
bias in front of a batch norm has no gradient but rounding errors, and AdamW makes steps of full size of them."""


@pytest.fixture
def place(version, tmp_path):
    return stored_home.unpack(version, tmp_path / "stored")


def stored(version, name):
    return json.loads((version / f"{name}.json").read_text(encoding="utf-8"))


def is_exact(version):
    """Whether arithmetic is bit for bit what it was: the same processor and the same torch."""
    golden = stored(version, "golden")
    return (golden["processor"], golden["torch"]) == (stored_home.processor(), metadata.version("torch"))


def assert_histories(now, then, *, exact):
    known = {row[0] for row in then}  # metrics may be added
    now = [row for row in now if row[0] in known]
    assert [row[:2] for row in now] == [row[:2] for row in then]
    for (key, step, value), (_, _, before) in zip(now, then, strict=True):
        assert value == before or (
            not exact and math.isclose(value, before, rel_tol=OTHER_PROCESSOR, abs_tol=OTHER_PROCESSOR)
        ), (
            key,
            step,
        )


def assert_tensors(now, then, *, exact):
    now, then = load_file(now), load_file(then)
    assert now.keys() == then.keys()
    for name, before in then.items():
        assert now[name].dtype == before.dtype
        assert now[name].equal(before) if exact else now[name].allclose(before, atol=OTHER_PROCESSOR), name


def assert_document(now, then):
    assert stored_home.differences(now, then) == []


def flip(file):
    """Change one bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


# ---- a finished run


def test_a_finished_run_is_evaluated_planned_and_listed(version, place):
    documents, run = stored(version, "documents"), place.run_id("tiny")
    for name, arguments in {
        "evaluate": ("evaluate", run),
        "evaluate views": ("evaluate", run[:8], "--set", "data.views.clips=2"),
        "plan": ("plan", "tiny.yaml"),
        "plan of a sweep": ("plan", "sweep-finished.yaml"),
        "report of table 2": ("report", "table2"),
    }.items():
        answer = place.command(*arguments, "--json").json
        if arguments[0] == "evaluate":
            assert answer["dataset_fingerprint"] == answer["dataset_fingerprint_of_run"]
        assert_document(answer, documents[name])
        if name.startswith("evaluate") and is_exact(version):
            assert stored_home.known_then(answer, documents[name]) == documents[name]


def test_documents_are_known_by_the_same_names(version, place):
    documents = stored(version, "documents")
    answer = place.command("validate", "tiny.yaml", "sweep-finished.yaml", "--json").json
    # Fields may be added, and none may change.
    assert [{**now, **then} for now, then in zip(answer, documents["validate"], strict=True)] == answer
    for kind in ("methods", "backbones", "datasets", "tasks"):
        now = {row["kind"]: row for row in place.command("list", kind, "--json").json}
        then = {row["kind"]: row for row in documents[f"list {kind}"]}
        assert then.keys() <= now.keys()
        assert all(then[name].keys() <= now[name].keys() for name in then)


def check_export(version, place: Place):
    """The same run gives the same folder, but for the words of its card."""
    answer = place.command("export", place.run_id("tiny"), "again", "--json").json
    then = stored(version, "documents")["export"]
    assert_document({**answer, "bytes": 0}, {**then, "bytes": 0})
    assert answer["checksums"]["weights.safetensors"] == then["checksums"]["weights.safetensors"]
    again, before = (json.loads((place.work / folder / "spec.json").read_text()) for folder in ("again", "exported"))
    assert stored_home.known_then(again, before) == before


def test_a_finished_run_is_exported_again(version, place):
    check_export(version, place)


def test_twin_with_one_bit_of_its_weights_changed_is_exported_otherwise(version, place):
    flip(place.artifact(place.run_id("tiny"), "checkpoint/*/best.safetensors"))
    with pytest.raises(AssertionError):
        check_export(version, place)


# ---- a folder that was given away


def check_scores(version, place: Place, folder: str):
    videos = stored(version, "expected")["videos"]
    model = side4video.load(str(place.work / folder))
    found = [asdict(each) for each in model.predict([place.work / video for video in videos])]
    then = stored(version, "documents")["predict"]
    assert_document([{**each, "labels": [list(pair) for pair in each["labels"]]} for each in found], then)
    for each, before in zip(found, then, strict=True):
        assert each["video"].endswith(before["video"])
        for (label, score), (name, wanted) in zip(each["labels"], before["labels"], strict=True):
            assert label == name
            assert score == wanted if is_exact(version) else math.isclose(score, wanted, abs_tol=1e-5)


@pytest.mark.parametrize("folder", ["exported", "exported-whole"])
def test_an_exported_folder_answers_the_same_scores(version, place, folder):
    check_scores(version, place, folder)


def test_the_command_answers_the_same_scores_from_the_folder_and_from_the_run(version, place):
    videos, then = stored(version, "expected")["videos"], stored(version, "documents")["predict"]
    for model in ("exported", place.run_id("tiny")):
        answer = place.command("predict", model, *videos, "--json").json
        assert_document(answer, then)
        assert stored_home.known_then(answer, then) == then or not is_exact(version)


def test_twin_whose_folder_has_another_bit_is_refused(version, place):
    flip(place.work / "exported/weights.safetensors")
    with pytest.raises(Exception, match=r"weights\.safetensors: its SHA-256 is not"):
        check_scores(version, place, "exported")


def test_twin_that_was_shown_other_videos_scores_otherwise(version, place):
    for video in [each for each in (place.work / "clips").glob("*.mp4") if each.name != "test-00000-left.mp4"]:
        shutil.copyfile(place.work / "clips" / "test-00000-left.mp4", video)
    with pytest.raises(AssertionError):
        check_scores(version, place, "exported-whole")


# ---- a run that was killed


def check_resumed(version, place: Place):
    expected, run = stored(version, "expected"), place.run_id("long")
    assert place.status(run) == "RUNNING"
    answer = place.command("run", "long.yaml", "--local", "--resume", "--json").json
    assert answer["run_id"] == run
    assert place.status(run) == "FINISHED"
    then = stored(version, "documents")["run of long"]
    assert_document({**answer, "notes": []}, {**then, "notes": []})
    weights = place.artifact(run, "checkpoint/*/weights.safetensors")
    assert_tensors(weights, version / "long.safetensors", exact=is_exact(version))
    assert_histories(place.history(run), expected["long"], exact=is_exact(version))
    assert any(note.endswith(f" {expected['long goes on from step']}") for note in answer["notes"])


def test_a_killed_run_ends_where_the_undisturbed_one_did(version, place):
    check_resumed(version, place)


def test_twin_whose_digest_is_called_otherwise_is_not_found(version, place):
    place.query("UPDATE tags SET key = 'side4video.hash' WHERE key = 'side4video.digest'")
    place.query("UPDATE tags SET key = 'side4video.kin' WHERE key = 'side4video.digest_of_any_workers'")
    with pytest.raises(AssertionError, match="no unfinished run of long"):
        check_resumed(version, place)


def test_twin_whose_checkpoint_is_damaged_says_so(version, place):
    flip(next(place.home.glob("runs/long-*/checkpoint-*/long/optimizer.safetensors")))
    with pytest.raises(AssertionError, match=r"optimizer\.safetensors"):
        check_resumed(version, place)


def test_twin_with_one_bit_of_the_end_changed_is_noticed(version, tmp_path):
    other = tmp_path / "long.safetensors"
    shutil.copyfile(version / "long.safetensors", other)
    flip(other)
    with pytest.raises(AssertionError):
        assert_tensors(other, version / "long.safetensors", exact=True)


# ---- sweeps


def check_sweep_goes_on(version, place: Place):
    arms = "JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'side4video.pack' WHERE r.status = 'FINISHED'"
    sql = f"SELECT r.run_uuid, r.start_time, r.end_time FROM runs r {arms} ORDER BY r.run_uuid"  # noqa: S608
    before = set(place.query(sql))
    values = "SELECT count(*) FROM metrics WHERE run_uuid = ?"
    counted = {run: place.query(values, run) for run, *_ in before}
    answer = place.command("sweep", "sweep-killed.yaml", "--local", "--json").json
    assert answer["complete"]
    had = [arm["hash"] for arm in answer["arms"] if arm["had_a_result"]]
    assert (len(had), len(answer["arms"])) == (2, 4)
    assert before <= set(place.query(sql)), "an arm that was finished has run again"
    assert {run: place.query(values, run) for run in counted} == counted
    then = stored(version, "expected")["killed sweep"]
    assert {arm["hash"] for arm in answer["arms"]} == then.keys()
    for arm in answer["arms"]:
        state, top1, loss = then[arm["hash"]]
        assert (arm["state"], arm["metrics"]["eval/top1"]) == (state, top1)
        assert arm["metrics"]["eval/loss"] == (loss if is_exact(version) else pytest.approx(loss, abs=1e-5))
        notes = place.query("SELECT value FROM tags WHERE run_uuid = ? AND key = 'side4video.notes'", arm["run_id"])
        assert bool(notes) == (arm["hash"] not in had), "the other pack goes on from its checkpoint"
    names = place.query("SELECT count(*) FROM tags WHERE key = 'side4video.sweep' AND value = ?", _sweep_tag(place))
    assert names == [(5,)]


def _sweep_tag(place: Place):
    ((tag,),) = place.query(
        "SELECT t.value FROM tags t JOIN runs r ON t.run_uuid = r.run_uuid "
        "WHERE t.key = 'side4video.sweep' AND r.name = 'sweep-killed'"
    )
    return tag


def test_a_killed_sweep_goes_on_and_trains_no_finished_arm_again(version, place):
    check_sweep_goes_on(version, place)


def test_twin_whose_states_are_called_otherwise_trains_again(version, place):
    place.query("UPDATE tags SET key = 'condition' WHERE key = 'state'")
    with pytest.raises(AssertionError):
        check_sweep_goes_on(version, place)


def check_report(version, place: Place):
    answer = place.command("report", "sweep", "sweep-finished", "--json").json
    then = stored(version, "documents")["report of a sweep"]
    assert_document(answer, then)
    for key in ("title", "metric"):
        assert answer[key] == then[key]
    assert [
        stored_home.texts_of(row, before) for row, before in zip(answer["rows"], then["rows"], strict=True)
    ] == then["rows"]


def test_a_finished_sweep_reports_the_same_table(version, place):
    check_report(version, place)


def test_twin_with_another_result_reports_another_table(version, place):
    place.query("UPDATE latest_metrics SET value = value / 2 + 0.1 WHERE key = 'eval/top1'")
    with pytest.raises(AssertionError):
        check_report(version, place)


def test_a_finished_sweep_has_nothing_to_do(version, place):
    sql = "SELECT run_uuid, start_time FROM runs ORDER BY run_uuid"
    before = place.query(sql)
    answer = place.command("sweep", "sweep-finished.yaml", "--local", "--json").json
    then = stored(version, "documents")["sweep again"]
    assert_document(answer, then)
    for arm, wanted in zip(answer["arms"], then["arms"], strict=True):
        assert arm == wanted
    assert place.query(sql) == before


# ---- sets


def check_packed(version, place: Place):
    then = stored(version, "documents")["data pack"]
    arguments = ("--short-side", 32, "--files-per-shard", 4, "--verify", "--json")
    answer = place.command("data", "pack", "listed.yaml", "packed", *arguments).json
    assert_document({**answer, "encoded": 0}, {**then, "encoded": 0})
    assert answer["encoded"] == 0, "a video was written again"
    for key in ("fingerprint", "source_fingerprint", "clips", "videos", "bytes"):
        assert answer[key] == then[key]


def check_frames(version, place: Place):
    place.command("run", "packed.yaml", "--local", "--json").json  # noqa: B018 - it must end well
    files = sorted((place.work / "frames-of-packed").rglob("video-*.safetensors"))
    now = {f"{file.parent.name}/{file.name}": stored_home.tensors_sha256(file) for file in files}
    assert now == stored(version, "expected")["frames of packed"]


def test_a_packed_set_is_the_same_set(version, place):
    check_packed(version, place)


def test_a_packed_set_has_the_same_frames(version, place):
    check_frames(version, place)


def test_twin_with_another_bit_in_a_shard_is_noticed(version, place):
    flip(sorted((place.work / "packed").glob("*.tar"))[0])
    with pytest.raises(AssertionError):
        check_packed(version, place)


def test_twin_whose_shards_are_exchanged_has_other_frames(version, place):
    first, second = sorted((place.work / "packed").glob("train-*.tar"))[:2]
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    with pytest.raises(AssertionError):
        check_frames(version, place)


# ---- features on disk


def files_of(place: Place):
    """What each file is: that it was not written again is seen by its inode and its time."""
    found = sorted((place.home / "features").rglob("*.safetensors"))
    return {
        str(file.relative_to(place.home)): (stored_home.sha256(file), file.stat().st_ino, file.stat().st_mtime_ns)
        for file in found
    }


def check_features_are_used(version, place: Place):
    before = files_of(place)
    assert {name: facts[0] for name, facts in before.items()} == stored(version, "expected")["feature files"]
    answer = place.command("run", "cached.yaml", "--local", "--json", "--set", "seed=115")
    assert answer.json["state"] == "finished"
    assert "caching features" not in answer.error, "the backbone ran"
    assert files_of(place) == before


def test_kept_features_are_used(version, place):
    check_features_are_used(version, place)


def test_twin_whose_folder_is_called_otherwise_makes_them_again(version, place):
    folder = next((place.home / "features").iterdir())
    folder.rename(folder.with_name("0" * len(folder.name)))
    answer = place.command("run", "cached.yaml", "--local", "--json", "--set", "seed=115")
    assert answer.code == 0
    assert "caching features" in answer.error
    folder = place.home / "features"
    assert len(list(folder.iterdir())) > 1


def test_twin_with_a_file_that_was_cut_makes_it_again(version, place):
    file = next((place.home / "features").rglob("tokens-*.safetensors"))
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(AssertionError):
        check_features_are_used(version, place)


# ---- what waited for a server


def check_delivered(version, place: Place):
    expected = stored(version, "expected")
    waiting, run = expected["waiting"], place.run_id("away")
    assert run == waiting["run"]
    queue = place.home / "outbox" / f"{run}.jsonl"
    assert len(queue.read_text(encoding="utf-8").splitlines()) == waiting["records"] > 0
    assert place.status(run) == "RUNNING"
    assert len(place.history(run)) < len(expected["away"])
    assert place.command("run", "after-away.yaml", "--local", "--json").json["state"] == "finished"
    assert not list((place.home / "outbox").glob("*.jsonl"))
    assert place.status(run) == "FINISHED"
    assert_histories(place.history(run), expected["away"], exact=True)
    for name in waiting["artifacts"]:
        assert place.artifact(run, name).stat().st_size > 0


def test_what_waited_is_delivered(version, place):
    check_delivered(version, place)


def test_twin_that_waits_for_another_store_is_not_delivered(version, place):
    name = stored_home.store_name(place.database)
    stored_home.replace_text(place.home / "outbox", name, "0" * len(name))
    with pytest.raises(AssertionError):
        check_delivered(version, place)


# ---- figures


def document(version, name: str) -> Path:
    """An experiment file as it was in that version: a copy of it if its content has changed since."""
    copy = version / name
    return copy if copy.is_file() else REPOSITORY / name


def test_experiments_and_sweeps_keep_their_names(version, tmp_path):
    """A name says what was computed: one that changes loses the results of everybody who has some."""
    golden, place = stored(version, "golden"), _empty(tmp_path)
    files = {str(document(version, name)): name for name in golden["hashes"]}
    answers = place.command("validate", *files, "--no-files", "--json").json
    assert {files[each["file"]]: each["hash"] for each in answers} == golden["hashes"]
    assert {name: stored_home.sweep_names(document(version, name)) for name in golden["sweeps"]} == golden["sweeps"]


def test_twin_with_another_learning_rate_has_another_name(version, tmp_path):
    golden, place = stored(version, "golden"), _empty(tmp_path)
    name = "experiments/quickstart.yaml"
    change = ("--set", "optimization.learning_rate=1e-5")
    (answer,) = place.command("validate", document(version, name), *change, "--no-files", "--json").json
    assert answer["hash"] != golden["hashes"][name]


@pytest.mark.parametrize(
    "name",
    [
        "vitb16-light",
        "vitb16",
        pytest.param("vitl14-light", marks=pytest.mark.long),
        pytest.param("vitl14", marks=pytest.mark.long),
    ],
)
def test_the_plan_of_table_2_is_the_same(version, tmp_path, name):
    answer = _empty(tmp_path).command("plan", REPOSITORY / f"experiments/ssv2/{name}.yaml", "--json").json
    assert answer == stored(version, "golden")["table 2"][name]


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("experiments/quickstart-sweep.yaml", ()),
        pytest.param("experiments/ablations/table9-b-f.yaml", ("--classes", 174), marks=pytest.mark.long),
    ],
)
def test_packs_are_the_same(version, tmp_path, name, more):
    planned = _empty(tmp_path).command("plan", document(version, name), "--json", *more).json
    assert those_of(planned, stored(version, "golden")["packs"][name]) == stored(version, "golden")["packs"][name]


def those_of(document, earlier):
    """A document without the keys that the earlier one did not have."""
    if isinstance(document, dict) and isinstance(earlier, dict):
        return {key: those_of(document[key], earlier[key]) for key in earlier if key in document}
    if isinstance(document, list) and isinstance(earlier, list):
        return [those_of(*pair) for pair in zip(document, earlier, strict=True)]
    return document


def check_quickstart(version, place: Place, *more):
    golden = stored(version, "golden")["quickstart"]
    file = document(version, "experiments/quickstart.yaml")
    run = place.command("run", file, "--local", "--json", *golden["changes"], *more).json["run_id"]
    assert_histories(place.history(run), golden["history"], exact=is_exact(version))
    weights = stored_home.tensors_sha256(place.artifact(run, "checkpoint/*/weights.safetensors"))
    assert weights == golden["weights_sha256"] or not is_exact(version)


def test_the_quickstart_begins_with_the_same_weights(version, tmp_path):
    check_quickstart(version, _empty(tmp_path))


def test_twin_with_another_seed_has_other_weights(version, tmp_path):
    with pytest.raises(AssertionError):
        check_quickstart(version, _empty(tmp_path), "--set", "seed=1")


def _empty(folder):
    place = Place(folder / "empty")
    place.home.mkdir(parents=True)
    place.work.mkdir()
    return place


# ---- documents


@pytest.mark.parametrize(
    "damage",
    [
        lambda document: document.pop("wall_s"),
        lambda document: document["plan"].update(classes=3),
        lambda document: document["metrics"].update({"eval/top1": 1}),
        lambda document: document.update(broken_clips=[{}]),
    ],
    ids=["key gone", "count", "type", "entry more"],
)
def test_twin_documents_are_noticed(version, damage):
    then, now = stored(version, "documents")["run"], stored(version, "documents")["run"]
    assert_document(now, then)
    damage(now)
    with pytest.raises(AssertionError):
        assert_document(now, then)


def test_a_run_is_told_of_by_the_same_document(version, place):
    answer = place.command("run", "tiny.yaml", "--local", "--json").json
    # The experiment was finished before, and a note says so now.
    assert_document({**answer, "notes": []}, stored(version, "documents")["run"])
