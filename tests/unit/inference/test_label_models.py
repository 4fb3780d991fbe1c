"""Trained models of several labels and several heads: runs, exported folders and servers say the same."""

import csv
import itertools
import json
import math
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner

import side4video
from label_sets import NOUNS, VERBS, make_labelled_list, write_spec
from side4video.apps.export.table import _load_pyfunc
from side4video.apps.serve.protocol import PredictRequest
from side4video.apps.serve.served_model import find_model, serve_page
from side4video.cli.main import cli
from side4video.core.errors import InputError
from side4video.inference.prediction import LabelChoice
from side4video.inference.trained_model import load
from side4video.spec.bundle import sealed
from side4video.tracking.stores import store_at

NAMES = ("several", "heads")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("label-models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIDE4VIDEO_HOME", str(folder / "home"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        listed = make_labelled_list(folder / "clips")
        for name in NAMES:
            write_spec(folder / f"{name}.yaml", name, listed)
            call("run", folder / f"{name}.yaml", "--local")
            call("export", name, folder / f"{name}-model", "--with-backbone", "--no-speed")
        yield folder


def call(*words):
    done = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def videos_of(home):
    return sorted(str(path) for path in (home / "clips").rglob("*.mp4"))


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_says_what_its_run_says_bit_for_bit(home, name):
    run, folder = load(name), load(home / f"{name}-model")
    videos = videos_of(home)
    pairs = list(zip(run.predict(videos), folder.predict(videos), strict=True))
    assert len(pairs) > 4
    for one, other in pairs:
        assert one.labels == other.labels
        assert one.head_labels == other.head_labels
        assert one.scores.tobytes() == other.scores.tobytes()
    assert (run.classes, run.heads) == (folder.classes, folder.heads)
    assert repr(run).count("classes") == 1


@pytest.mark.parametrize("name", NAMES)
def test_the_scores_are_those_of_the_evaluation(home, name, tmp_path):
    store = store_at("").prepare()
    run = store.find(name, finished_first=True).run_id
    recorded = np.load(store.download(run, "scores.npz", tmp_path))
    model = load(name)
    clips = side4video.load_experiment(home / f"{name}.yaml").data.listed.clips("test")
    found = np.stack([each.scores for each in model.predict([clip.path for clip in clips])])
    assert np.array_equal(found.astype(np.float32), recorded["scores"])


def test_frames_in_memory_and_streams_have_labels_too(home):
    frames = np.random.default_rng(0).integers(0, 256, (6, 40, 40, 3), dtype=np.uint8)
    for name in NAMES:
        model = load(name)
        one = model.predict(frames)
        (window,) = model.stream(iter(frames), window_seconds=9)
        assert one.labels == window.labels
        assert one.head_labels == window.head_labels
        assert bool(one.head_labels) == (name == "heads")


def test_labels_are_probabilities_by_themselves(home):
    model = load("several")
    each = model.predict(videos_of(home)[0])
    assert sorted(name for name, _ in each.labels) == ["falling", "fast", "rising", "slow"]
    assert [score for _, score in each.labels] == sorted(each.scores, reverse=True)
    middle = float(np.sort(each.scores)[1])
    above = model.predict(videos_of(home)[0], threshold=middle)
    assert above.labels == each.labels[:3]
    assert model.predict(videos_of(home)[0], threshold=middle, top=2).labels == each.labels[:2]
    with pytest.raises(InputError, match=r"threshold: 1\.5 · allowed: 0 to 1"):
        model.predict(videos_of(home)[0], threshold=1.5)


def test_each_head_has_classes_and_actions_are_products(home):
    model = load("heads")
    assert model.heads == {"noun": tuple(sorted(NOUNS)), "verb": tuple(sorted(VERBS))}
    each = model.predict(videos_of(home)[0], top=6)
    scores = {head: dict(labels) for head, labels in each.head_labels.items()}
    assert [math.fsum(of_head.values()) for of_head in scores.values()] == pytest.approx([1, 1])
    assert len(each.labels) == 6
    for action, score in each.labels:
        noun, verb = action.split(", ")
        assert score == scores["noun"][noun] * scores["verb"][verb]
    assert each.labels[0][0] == ", ".join(labels[0][0] for labels in each.head_labels.values())


def test_heads_keep_the_order_that_they_were_trained_in(home):
    """That of the data set, which need not be the alphabet's."""
    before = load(home / "heads-model").predict(videos_of(home)[0], top=6)
    file = home / "heads-model/bundle.json"
    text = file.read_text()
    document = json.loads(text)
    document["heads"] = dict(reversed(document["heads"].items()))
    try:
        file.write_text(json.dumps(sealed(document)))
        model = load(home / "heads-model")
    finally:
        file.write_text(text)
    each = model.predict(videos_of(home)[0], top=6)
    assert list(model.heads) == list(each.head_labels) == ["verb", "noun"]
    assert [(", ".join(reversed(name.split(", "))), score) for name, score in each.labels] == list(before.labels)
    assert each.head_labels == before.head_labels


# ---- the order of actions, judged against all of them


def every_action(scores_C, heads):
    """All actions with their scores, best first."""
    parts = np.split(scores_C, np.cumsum([len(names) for names in heads.values()])[:-1])
    found = [
        (", ".join(name for name, _ in pairs), math.prod(score for _, score in pairs))
        for pairs in itertools.product(
            *(zip(names, part, strict=True) for names, part in zip(heads.values(), parts, strict=True))
        )
    ]
    return sorted(found, key=lambda pair: -pair[1])


def wrong_order(scores_C, heads, choice=LabelChoice):
    """Actions of as many of the best classes of each head as are asked for, one with one."""
    of_heads = choice(4).of_heads(scores_C, heads)
    return [
        (", ".join(name for name, _ in pairs), math.prod(s for _, s in pairs))
        for pairs in zip(*of_heads.values(), strict=False)
    ]


def differs(order):
    heads = {"a": tuple("pqrst"), "b": tuple("uvw"), "c": tuple("xyzABCD")}
    random = np.random.default_rng(3)
    for _ in range(20):
        scores_C = np.concatenate([random.dirichlet(np.ones(len(names))) for names in heads.values()])
        expected = every_action(scores_C, heads)[:4]
        found = order(scores_C, heads)
        if [name for name, _ in found] != [name for name, _ in expected]:
            return True
        np.testing.assert_allclose([score for _, score in found], [score for _, score in expected], rtol=1e-12)
    return False


def test_actions_are_those_of_the_highest_products():
    assert not differs(LabelChoice(4).of_actions)
    heads = {"a": tuple("x" * 30), "b": tuple("y" * 30)}
    assert len(LabelChoice(None, 0.0).of_actions(np.full(60, 1 / 30), heads)) == 900


def test_another_order_of_actions_is_noticed():
    """The broken twin."""
    assert differs(wrong_order)


# ---- the command line


def test_predict_prints_heads_and_the_threshold(home):
    video = videos_of(home)[0]
    text = call("predict", "heads", video, "--top", 2)
    columns = [line.replace(video, "").split()[0] for line in text.splitlines()[1:]]
    assert [word for word in columns if word in ("action", "noun", "verb")] == ["action", "noun", "verb"]
    assert "none reaches the threshold" in call("predict", "several", video, "--threshold", "1")
    (document,) = json.loads(call("predict", "heads", video, "--json", "--top", 2))
    assert {head: len(labels) for head, labels in document["heads"].items()} == {"noun": 2, "verb": 2}
    (document,) = json.loads(call("predict", "several", video, "--json", "--threshold", "0"))
    assert "heads" not in document
    assert len(document["labels"]) == 4


def test_predictions_in_files(home, tmp_path):
    videos = videos_of(home)
    call("predict", "heads", *videos, "--out", tmp_path / "heads.csv")
    call("predict", "heads", *videos, "--out", tmp_path / "heads.jsonl")
    call("predict", "several", *videos, "--out", tmp_path / "several.csv", "--threshold", "0.3")
    with (tmp_path / "heads.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (tmp_path / "heads.jsonl").read_text().splitlines()]
    for row, line in zip(rows, lines, strict=True):
        assert row["label_1"] == line["labels"][0][0] == f"{row['noun prediction']}, {row['verb prediction']}"
        assert f"{line['scores']['verb']['take']:.6f}" == row["verb score take"]
        assert line["heads"]["noun"][0][0] == row["noun prediction"]
        assert None not in row
        assert None not in row.values()
    with (tmp_path / "several.csv").open(newline="") as file:
        header, *cells = csv.reader(file)
    assert header[2:] == [*itertools.chain(*((f"label_{n}", f"score_{n}") for n in (1, 2, 3, 4))), *header[-4:]]
    assert all(len(row) == len(header) for row in cells)


# ---- other readers


@pytest.mark.parametrize("name", NAMES)
def test_a_server_answers_the_same(home, name, tmp_path):
    video = videos_of(home)[0]
    for model in (name, str(home / f"{name}-model")):
        served = find_model(model, "", tmp_path, device="cpu")
        assert served.kind == "labels"
        assert ("2 classes of noun" in serve_page(served, max_bytes=2**20)) == (name == "heads")
        predictor = partial(served.build, limit_seconds=30, processes=1)()
        try:
            requests = [
                PredictRequest((video,), ("a.mp4",), top, threshold=least) for top, least in ((1, None), (9, 0.3))
            ]
            first, second = (response.document for response in predictor.answer(requests))
        finally:
            predictor.close()
        expected = load(name).predict(video, top=1)
        assert first["labels"] == [list(each) for each in expected.labels]
        assert first.get("heads", {}) == {head: [list(labels[0])] for head, labels in expected.head_labels.items()}
        above = load(name).predict(video, threshold=0.3)
        assert second["labels"] == [list(each) for each in above.labels]


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_is_evaluated_as_its_run(home, name):
    own, other = (
        json.loads(call("evaluate", model, "--json", *more))["metrics"]
        for model, more in ((name, ()), (home / f"{name}-model", ("--data", home / f"{name}.yaml")))
    )
    assert own == other


def test_other_heads_than_the_folders_are_refused(home):
    names = "data.dataset.head_class_names={noun: {kind: given, names: [plate, cup]}}"
    words = ["evaluate", str(home / "heads-model"), "--data", str(home / "heads.yaml"), "--set", names]
    done = CliRunner().invoke(cli, words)
    assert "the classes of noun in the data are not those that it was trained with" in str(done.exception)


@pytest.mark.parametrize("name", NAMES)
def test_the_graph_has_the_scores_of_the_task(home, name, tmp_path):
    out = call("export", name, tmp_path / "model", "--graph", "--no-speed")
    assert "graph.pt2: its scores" in out
    card = (tmp_path / "model/README.md").read_text()
    assert {"several": "a sigmoid of each class", "heads": "a softmax of each head"}[name] in card
    assert {"several": "| `eval/map` |", "heads": "| `eval/verb_top1` |"}[name] in card
    assert {"several": "threshold=0.5", "heads": "found.head_labels"}[name] in card


def test_a_table_of_videos_has_actions(home):
    import pandas as pd

    answer = _load_pyfunc(str(home / "heads-model")).predict(pd.DataFrame({"video": videos_of(home)[:2]}))
    assert all(", " in label for label in answer["label"])


def test_only_folders_with_heads_say_so(home):
    """Versions before read a folder without heads; a folder that lost its heads is no such model."""
    assert "heads" not in json.loads((home / "several-model/bundle.json").read_text())
    file = home / "heads-model/bundle.json"
    text = file.read_text()
    document = json.loads(text)
    assert document.pop("heads") == {"noun": ["cup", "plate"], "verb": ["put", "take", "wash"]}
    try:
        file.write_text(json.dumps(sealed(document)))
        with pytest.raises(InputError, match="its clips have no labels of several heads"):
            side4video.load(home / "heads-model")
    finally:
        file.write_text(text)
