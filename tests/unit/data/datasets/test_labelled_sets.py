"""Diving48, Jester, Moments in Time and COIN from small files in their official form."""

import json
import logging
from pathlib import Path

import pytest
from pydantic import ValidationError

from caption_files import dataset, touch, write_json
from side4video.core.errors import InputError

SKIP = {"kind": "skip"}


def names_of(clips, folder):
    return [clip.path.removeprefix(f"{folder}/") for clip in clips]


def check_refused(spec, message):
    with pytest.raises(InputError, match=message) as caught:
        spec.check()
    assert "\n" not in str(caught.value)


# ---- Diving48

VOCAB = [
    ["Back", "15som", "05Twis", "FREE"],
    ["Back", "15som", "15Twis", "FREE"],
    ["Reverse", "Dive", "NoTwis", "PIKE"],
]


def dive(name, label):
    return {"vid_name": name, "label": label, "start_frame": 0, "end_frame": 48}


DIVES = {"train": [dive("-mmq0PT-u8k_00155", 0), dive("a_00001", 2)], "test": [dive("b_00000", 1)]}


def write_diving(folder, mark="V2_", *, lists=DIVES, vocab=VOCAB, **fields):
    for split, entries in lists.items():
        path = folder / f"Diving48_{mark}{split}.json"
        path.write_text(entries) if isinstance(entries, str) else write_json(path, entries)
    write_json(folder / "Diving48_vocab.json", vocab)
    for name in ("-mmq0PT-u8k_00155", "a_00001", "b_00000"):
        touch(folder, f"{name}.mp4")
    return dataset({"kind": "diving48", "annotations": str(folder), **fields})


def test_diving48(tmp_path):
    spec = write_diving(tmp_path)
    assert spec.classes() == (
        "Back, 15som, 05Twis, FREE",
        "Back, 15som, 15Twis, FREE",
        "Reverse, Dive, NoTwis, PIKE",
    )
    train = spec.clips("train")
    assert names_of(train, tmp_path) == ["-mmq0PT-u8k_00155.mp4", "a_00001.mp4"]
    assert [clip.label for clip in [*train, *spec.clips("test")]] == [0, 2, 1]
    assert train[1].origin == f"{tmp_path}/Diving48_V2_train.json:[1]"
    assert not any(clip.start_seconds or clip.end_seconds for clip in train)  # frames of the file, not of another one
    assert spec.usual_classes() == 48
    spec.check()


def test_the_two_versions_of_diving48_have_other_labels_in_one_form(tmp_path):
    write_diving(tmp_path)
    first = write_diving(tmp_path, "", lists={**DIVES, "train": [dive("a_00001", 1)]}, version="v1")
    assert [clip.label for clip in first.clips("train")] == [1]
    second = dataset({"kind": "diving48", "annotations": str(tmp_path)})
    assert [clip.label for clip in second.clips("train")] == [0, 2]
    assert first.fingerprint() != second.fingerprint()
    named = dataset({"kind": "diving48", "annotations": str(tmp_path), "train_list": "Diving48_train.json"})
    assert [clip.label for clip in named.clips("train")] == [1]


WRONG_DIVES = {
    "beyond": ([dive("a_00001", 3)], r"train\.json:\[0\]: label 3 is out of range · allowed: 0 to 2"),
    "negative": ([dive("a_00001", -1)], r"train\.json:\[0\]: label -1 is out of range"),
    "a name": ([dive("a_00001", "Back")], r"train\.json:\[0\]: the label is 'Back'"),
    "true": ([dive("a_00001", True)], r"train\.json:\[0\]: the label is True"),
    "no name": ([dive(" ", 1)], r"train\.json:\[0\]: the vid_name is empty"),
    "no field": ([{"vid_name": "a_00001"}], r"train\.json:\[0\]: no field 'label'"),
    "twice": ([dive("a_00001", 1)] * 2, r"train\.json:\[1\]: .*listed twice"),
    "missing": ([dive("gone", 1)], r"train\.json:\[0\]: 1 of 1 videos are not in .*: gone\.mp4"),
    "empty": ([], "the list is empty"),
    "no JSON": ("[{", r"train\.json:1: not JSON"),
}


@pytest.mark.parametrize("case", WRONG_DIVES)
def test_a_wrong_list_of_dives(tmp_path, case):
    entries, message = WRONG_DIVES[case]
    check_refused(write_diving(tmp_path, lists={**DIVES, "train": entries}), message)


@pytest.mark.parametrize(
    ("vocab", "message"),
    [
        ([], r"vocab\.json: no class in it"),
        ([*VOCAB, VOCAB[0]], r"vocab\.json:\[3\]: the class 'Back, 15som, 05Twis, FREE' is that of .*\[0\] too"),
        ([[]], r"vocab\.json:\[0\]: a class without a term"),
        (["Back"], r"vocab\.json:\[0\]: found 'Back' · allowed: a list"),
    ],
)
def test_a_wrong_file_of_terms(tmp_path, vocab, message):
    check_refused(write_diving(tmp_path, vocab=vocab), message)


# ---- Jester

GESTURES = ["Swiping Left", "Swiping Right", "Turning Hand Counterclockwise", "Turning Hand Clockwise", "Thumb Up"]


def write_jester(folder, train="34870;Swiping Right\n56557;Thumb Up\n", test="7;Swiping Left\n", **fields):
    texts = {"labels": "\n".join(GESTURES), "train": train, "validation": test}
    for name, text in texts.items():
        (folder / f"jester-v1-{name}.csv").write_text(text)
    for name in ("34870", "56557", "7"):
        (folder / name).mkdir(exist_ok=True)
    return dataset({"kind": "jester", "annotations": str(folder), **fields})


def test_jester(tmp_path):
    spec = write_jester(tmp_path)
    assert spec.classes() == tuple(GESTURES)  # in the order of the file, not of the alphabet
    assert [clip.label for clip in [*spec.clips("train"), *spec.clips("test")]] == [1, 4, 0]
    assert {clip.frame_pattern for clip in spec.clips("train")} == {"{:05d}.jpg"}
    assert spec.clips("train")[1].origin == f"{tmp_path}/jester-v1-train.csv:2"
    assert spec.usual_classes() == 27
    spec.check()


def test_a_flip_swaps_left_and_right_and_the_direction_of_turning(tmp_path):
    assert write_jester(tmp_path).flipped_classes() == {0: 1, 1: 0, 2: 3, 3: 2, 4: 4}
    (tmp_path / "jester-v1-labels.csv").write_text("\n".join(GESTURES[1:]))
    assert dataset({"kind": "jester", "annotations": str(tmp_path)}).flipped_classes() is None


WRONG_JESTER = {
    "no label": ("34870\n", r"train\.csv:1: found '34870' · allowed: id;label, such as 34870;Drumming Fingers"),
    "unknown": ("34870;Swiping\n", r"train\.csv:1: label 'Swiping' is no class"),
    "empty": ("\n", "the list is empty"),
    "missing": ("1;Thumb Up\n", r"train\.csv:1: 1 of 1 videos are not in .*: 1"),
    "twice": ("7;Thumb Up\n7;Thumb Up\n", r"train\.csv:2: .*listed twice"),
}


@pytest.mark.parametrize("case", WRONG_JESTER)
def test_a_wrong_list_of_gestures(tmp_path, case):
    text, message = WRONG_JESTER[case]
    check_refused(write_jester(tmp_path, text), message)


def test_gestures_as_videos_and_missing_ones(tmp_path, caplog):
    touch(tmp_path, "56557.webm")
    with caplog.at_level(logging.WARNING):
        clips = write_jester(tmp_path, frame_pattern="", missing_videos=SKIP).clips("train")
    assert [clip.label for clip in clips] == [4]
    assert "left out 1 of 2 videos" in caplog.text


# ---- Moments in Time

MOMENTS = ["blocking/getty-karate, 2_4.mp4,blocking,3,0", "playing+music/yt-5of6ffo6-Bw_205.mp4,playing+music,2,1"]


def write_moments(folder, train=MOMENTS, test=MOMENTS[1:], categories="playing+music,1\nblocking,0\n", **fields):
    (folder / "moments_categories.txt").write_text(categories)
    (folder / "trainingSet.csv").write_text("\n".join(train))
    (folder / "validationSet.csv").write_text("\n".join(test))
    for line in MOMENTS:
        for split in ("training", "validation"):
            touch(folder / split, line.rsplit(",", 3)[0])
    roots = {"root": str(folder / "training"), "test_root": str(folder / "validation")}
    return dataset({"kind": "moments-in-time", "annotations": str(folder), **roots, **fields})


def test_moments_in_time(tmp_path):
    spec = write_moments(tmp_path)
    assert spec.classes() == ("blocking", "playing+music")  # by their indices, which are not the order of the lines
    assert [clip.label for clip in spec.clips("train")] == [0, 1]
    assert names_of(spec.clips("train"), tmp_path)[0] == "training/blocking/getty-karate, 2_4.mp4"
    assert names_of(spec.clips("test"), tmp_path) == ["validation/playing+music/yt-5of6ffo6-Bw_205.mp4"]
    assert spec.usual_classes() == 339
    words = write_moments(tmp_path, names="words")
    assert words.classes() == ("blocking", "playing music")
    assert [clip.label for clip in words.clips("train")] == [0, 1]


WRONG_MOMENTS = {
    "header": (["filename,label,positive,negative"], r"trainingSet\.csv:1: found 'filename,label"),
    "a column less": (["a/b.mp4,blocking,3"], r"trainingSet\.csv:1: found"),
    "no label": ([MOMENTS[0], "a/b.mp4,,3,0"], r"trainingSet\.csv:2: found 'a/b\.mp4,,3,0'"),
    "unknown": (["a/b.mp4,block,3,0"], r"trainingSet\.csv:1: label 'block' is no class.*mean 'blocking'"),
    "twice": ([MOMENTS[0]] * 2, r"trainingSet\.csv:2: .*listed twice"),
    "missing": (["blocking/x.mp4,blocking,3,0"], r"trainingSet\.csv:1: 1 of 1 videos are not in .*: blocking/x\.mp4"),
    "empty": ([], "the list is empty"),
}


@pytest.mark.parametrize("case", WRONG_MOMENTS)
def test_a_wrong_list_of_moments(tmp_path, case):
    lines, message = WRONG_MOMENTS[case]
    check_refused(write_moments(tmp_path, lines), message)


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ("", r"moments_categories\.txt: no class has the index 0"),
        ("blocking,1\n", r"moments_categories\.txt: no class has the index 0"),
        ("blocking,0\nwalking,0\n", r"moments_categories\.txt:2: found 'walking,0'"),
        ("blocking,0\nblocking,1\n", r"moments_categories\.txt:2: found 'blocking,1'"),
        ("blocking\n", r"moments_categories\.txt:1: found 'blocking' · allowed: name,index"),
    ],
)
def test_a_wrong_file_of_categories(tmp_path, categories, message):
    check_refused(write_moments(tmp_path, categories=categories), message)


def test_moments_as_frames_and_missing_ones(tmp_path):
    (tmp_path / "training/blocking/getty-karate, 2_4").mkdir(parents=True)
    spec = write_moments(tmp_path, frame_pattern="{:05d}.jpg", missing_videos=SKIP)
    assert [clip.label for clip in spec.clips("train")] == [0]


# ---- COIN


def step(number, label, *segment):
    return {"id": str(number), "label": label, "segment": list(segment)}


def task(name, number, subset, *steps):
    rest = {"duration": 131.0, "video_url": "https://www.youtube.com/embed/x", "start": 1.5, "end": 99.0}
    return {**rest, "class": name, "recipe_type": number, "subset": subset, "annotation": list(steps)}


TIRE = step(261, "remove the tire", 60.0, 69.5)
COIN = {
    "LtRSn-ntcLY": task("ReplaceCDDriveWithSSD", 131, "training", step(212, "take out the drive", 60.0, 69.0)),
    "car": task("ChangeCarTire", 13, "training", TIRE, step(262, "put on the tire", 70, 71)),
    "bike": task("ChangeBikeTires", 12, "testing", step(30, "remove the tire", 1.0, 2.0), step(31, "pump", 5, 5)),
}


def write_coin(folder, database=COIN, **fields):
    write_json(folder / "COIN.json", {"database": database})
    for identifier, entry in COIN.items():
        touch(folder / str(entry["recipe_type"]), f"{identifier}.mp4")
    return dataset({"kind": "coin", "annotations": str(folder), **fields})


def test_tasks_of_coin(tmp_path):
    spec = write_coin(tmp_path)
    # In the order of their official numbers: 12, 13, 131.
    assert spec.classes() == ("ChangeBikeTires", "ChangeCarTire", "ReplaceCDDriveWithSSD")
    train, test = spec.clips("train"), spec.clips("test")
    assert names_of(train, tmp_path) == ["131/LtRSn-ntcLY.mp4", "13/car.mp4"]
    assert names_of(test, tmp_path) == ["12/bike.mp4"]
    assert [clip.label for clip in [*train, *test]] == [2, 1, 0]
    assert train[0].origin == f"{tmp_path}/COIN.json:LtRSn-ntcLY"
    assert {clip.start_seconds for clip in train} == {None}
    words = write_coin(tmp_path, names="words")
    assert words.classes() == ("Change Bike Tires", "Change Car Tire", "Replace CD Drive With SSD")
    assert [clip.label for clip in words.clips("train")] == [2, 1]
    assert (spec.usual_classes(), write_coin(tmp_path, samples="steps").usual_classes()) == (180, 778)


def test_steps_of_coin_with_one_label_are_different_classes(tmp_path, caplog):
    spec = write_coin(tmp_path, samples="steps")
    assert spec.classes() == (
        "remove the tire (ChangeBikeTires)",
        "pump",
        "take out the drive",
        "remove the tire (ChangeCarTire)",
        "put on the tire",
    )
    train = spec.clips("train")
    assert [(clip.label, clip.start_seconds, clip.end_seconds, clip.group) for clip in train] == [
        (2, 60.0, 69.0, "LtRSn-ntcLY"),
        (3, 60.0, 69.5, "car"),
        (4, 70.0, 71.0, "car"),
    ]
    assert train[1].path == train[2].path
    assert train[2].origin == f"{tmp_path}/COIN.json:car.annotation[1]"
    with caplog.at_level(logging.WARNING):
        assert [clip.label for clip in spec.clips("test")] == [0]
    assert "left out 1 steps that end before they start" in caplog.text


def test_a_label_that_one_task_has_twice(tmp_path):
    database = {**COIN, "car": task("ChangeCarTire", 13, "training", TIRE, step(300, "remove the tire", 80, 90), TIRE)}
    spec = write_coin(tmp_path, database, samples="steps")
    assert spec.classes()[-2:] == (
        "remove the tire (ChangeCarTire, step 261)",
        "remove the tire (ChangeCarTire, step 300)",
    )
    assert len(spec.clips("train")) == 3  # the same step of the same seconds once


def test_coin_in_one_folder_and_missing_videos(tmp_path):
    touch(tmp_path, "car.mp4")
    spec = write_coin(tmp_path, folders="none", missing_videos=SKIP)
    assert names_of(spec.clips("train"), tmp_path) == ["car.mp4"]
    check_refused(write_coin(tmp_path, folders="none"), r"COIN\.json:LtRSn-ntcLY: 1 of 2 videos are not in")


WRONG_COIN = {
    "no database": ("{}", r"COIN\.json: no field 'database'"),
    "no JSON": ("{", r"COIN\.json:1: not JSON"),
    "no class": ({"a": {"subset": "training"}}, r"COIN\.json:a: no field 'class'"),
    "subset": ({"a": task("A", 1, "train")}, r"COIN\.json:a: the subset is 'train' · allowed: training, testing"),
    "number": ({"a": task("A", None, "training")}, r"COIN\.json:a: the number is None"),
    "two names": (
        {"a": task("A", 1, "training"), "b": task("B", 1, "testing")},
        r"COIN\.json:b: the number 1 is that of 'B' and of 'A'",
    ),
    "segment": (
        {"a": task("A", 1, "training", step(1, "x", 3))},
        r"COIN\.json:a\.annotation\[0\]: the segment is \[3\]",
    ),
    "no time": ({"a": task("A", 1, "training", step(1, "x", "0", 3))}, r"annotation\[0\]: the segment is \['0', 3\]"),
    "step number": ({"a": task("A", 1, "training", step("x", "x", 0, 3))}, r"annotation\[0\]: the number is 'x'"),
    "none for test": ({"car": COIN["car"]}, r"COIN\.json: no entry is for test"),
}


@pytest.mark.parametrize("case", WRONG_COIN)
def test_a_wrong_coin(tmp_path, case):
    database, message = WRONG_COIN[case]
    spec = write_coin(tmp_path, samples="steps")
    text = database if isinstance(database, str) else json.dumps({"database": database})
    (tmp_path / "COIN.json").write_text(text)
    check_refused(spec, message)


@pytest.mark.parametrize("kind", ["ucf101", "hmdb51", "diving48", "jester", "moments-in-time", "coin"])
def test_a_folder_that_is_not_there(tmp_path, kind):
    spec = dataset({"kind": kind, "annotations": str(tmp_path / "no")})
    with pytest.raises(InputError, match=f"{tmp_path}/no") as caught:
        spec.check()
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="annotations: the environment variable NO_SUCH"):
        dataset({"kind": kind, "annotations": "${NO_SUCH}"}).check()


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "diving48", "version": "v3"},
        {"kind": "coin", "samples": "clips"},
        {"kind": "moments-in-time", "names": "pretty"},
        {"kind": "jester", "class_names": ""},
    ],
)
def test_fields_that_cannot_be(fields):
    with pytest.raises(ValidationError):
        dataset({"annotations": "x", **fields})


def test_only_some_classes_of_any_labelled_set(tmp_path):
    split = tmp_path / "split.txt"
    split.write_text("Change Car Tire\n")
    spec = write_coin(tmp_path, names="words", only_classes=str(split))
    assert spec.classes() == ("Change Car Tire",)
    assert [(Path(clip.path).name, clip.label) for clip in spec.clips("train")] == [("car.mp4", 0)]
