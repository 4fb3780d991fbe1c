"""UCF101 and HMDB51 from small files in their official form."""

import logging
from pathlib import Path

import pytest
from pydantic import ValidationError

from caption_files import dataset, touch
from side4video.core.errors import InputError

CLASSES = "1 ApplyEyeMakeup\r\n2 HandstandPushups\r\n3 YoYo\r\n"
UCF_TRAIN = "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\r\nYoYo/v_YoYo_g25_c05.avi 3\r\n"
UCF_TEST = "HandstandPushups/v_HandStandPushups_g01_c02.avi\r\n"
UCF_FILES = [line.split()[0] for line in (UCF_TRAIN + UCF_TEST).splitlines()]


def write_ucf(folder, train=UCF_TRAIN, test=UCF_TEST, classes=CLASSES, fold=1, **fields):
    texts = {"classInd.txt": classes, f"trainlist0{fold}.txt": train, f"testlist0{fold}.txt": test}
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode())
    return dataset({"kind": "ucf101", "annotations": str(folder), "fold": fold, **fields})


def make_ucf(folder, *args, **fields):
    for name in UCF_FILES:
        touch(folder, name)
    return write_ucf(folder, *args, **fields)


def test_ucf_numbers_begin_at_one_and_the_class_is_the_folder(tmp_path):
    spec = make_ucf(tmp_path)
    assert spec.classes() == ("ApplyEyeMakeup", "HandstandPushups", "YoYo")
    clips = [*spec.clips("train"), *spec.clips("test")]
    assert [clip.path for clip in clips] == [str(tmp_path / name) for name in UCF_FILES]
    # Read as positions, 1 and 3 would be another class and none; the test list has no number.
    assert [clip.label for clip in clips] == [0, 2, 1]
    assert [clip.group for clip in clips] == ["ApplyEyeMakeup_g08", "YoYo_g25", "HandstandPushups_g01"]
    assert clips[1].origin == f"{tmp_path}/trainlist01.txt:2"
    assert spec.flipped_classes() == {0: 0, 1: 1, 2: 2}
    assert spec.usual_classes() == 101
    spec.check()
    spec.prepare(lambda done, total: None)


def test_a_number_that_begins_at_zero_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"trainlist01\.txt:2: the number is 2, and YoYo has the number 3") as caught:
        make_ucf(tmp_path, UCF_TRAIN.replace("avi 3", "avi 2")).check()
    assert "format: list" in caught.value.fix


def test_each_fold_has_its_lists(tmp_path):
    make_ucf(tmp_path)
    third = write_ucf(tmp_path, UCF_TEST, UCF_TRAIN, fold=3)
    assert [clip.label for clip in third.clips("train")] == [1]
    assert third.fingerprint() != dataset({"kind": "ucf101", "annotations": str(tmp_path)}).fingerprint()
    with pytest.raises(InputError, match=r"trainlist02\.txt: the annotation file cannot be read"):
        dataset({"kind": "ucf101", "annotations": str(tmp_path), "fold": 2}).check()
    with pytest.raises(ValidationError):
        dataset({"kind": "ucf101", "annotations": "x", "fold": 4})


def test_names_of_ucf_as_words(tmp_path):
    spec = make_ucf(tmp_path, names="words")
    assert spec.classes() == ("Apply Eye Makeup", "Handstand Pushups", "Yo Yo")
    assert [clip.label for clip in spec.clips("train")] == [0, 2]
    assert spec.fingerprint() != write_ucf(tmp_path).fingerprint()


def test_ucf_in_other_files(tmp_path):
    for name in UCF_FILES:
        (tmp_path / "frames" / name.removesuffix(".avi")).mkdir(parents=True)
        touch(tmp_path / "small", name.replace(".avi", ".mp4"))
    frames = write_ucf(tmp_path, root=str(tmp_path / "frames"), frame_pattern="img_{:05d}.jpg")
    assert frames.clips("test")[0].path == str(tmp_path / "frames" / UCF_FILES[2].removesuffix(".avi"))
    small = write_ucf(tmp_path, root=str(tmp_path / "small"), extension=".mp4")
    assert small.clips("test")[0].path.endswith("g01_c02.mp4")


def test_ucf_from_a_list_of_papers_code(tmp_path):
    listed = "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 0\nYoYo/v_YoYo_g25_c05.avi 2\n"
    spec = make_ucf(tmp_path, listed, listed, format="list")
    assert [clip.label for clip in spec.clips("train")] == [0, 2]


WRONG_UCF = {
    "empty": ({"train": "\r\n"}, "the list is empty"),
    "unknown class": (
        {"train": "Yoyo/v_Yoyo_g01_c01.avi 3\n"},
        r"txt:1: label 'Yoyo' is no class.*mean 'YoYo'",
    ),
    "no folder": ({"train": "v_YoYo_g01_c01.avi 3\n"}, r"list01\.txt:1: found 'v_YoYo.* allowed: Class/video\.avi"),
    "a csv": ({"train": "YoYo/a.avi,3,4 b c\n"}, r"list01\.txt:1: found"),
    "twice": ({"train": UCF_TRAIN + UCF_TRAIN}, r"list01\.txt:3: .*listed twice"),
    "no class names": ({"classes": "\n"}, r"classInd\.txt: no class name"),
    "from zero": ({"classes": "0 ApplyEyeMakeup\n"}, r"classInd\.txt:1: found '0 ApplyEyeMakeup' · allowed: 1 and"),
    "a gap": ({"classes": "1 A\n3 B\n"}, r"classInd\.txt:2: found '3 B' · allowed: 2 and"),
    "class twice": ({"classes": "1 A\n2 A\n"}, r"classInd\.txt:2: found '2 A'"),
}


@pytest.mark.parametrize("case", WRONG_UCF)
def test_a_wrong_file_of_ucf_is_named_by_line(tmp_path, case):
    files, message = WRONG_UCF[case]
    with pytest.raises(InputError, match=message) as caught:
        make_ucf(tmp_path, **files).check()
    assert "\n" not in str(caught.value)


BRUSH = "April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1 \nBrushing & Combing_brush_hair_f_nm_np1_ba_goo_2.avi 2 \n"
CATCH = "Ball_catch_u_cm_np1_ba_bad_2.avi 0 \n#20_Rhythm_catch_f_nm_np1_fr_med_0.avi 1 \n"
HMDB = {"brush_hair": BRUSH, "catch": CATCH}


def write_hmdb(folder, texts=HMDB, fold=1, **fields):
    for name, text in texts.items():
        (folder / f"{name}_test_split{fold}.txt").write_text(text)
    return dataset({"kind": "hmdb51", "annotations": str(folder), "fold": fold, **fields})


def make_hmdb(folder, texts=HMDB, **fields):
    for name, text in HMDB.items():
        for line in text.splitlines():
            touch(folder, f"{name}/{line[: line.index('.avi')]}.avi")
    return write_hmdb(folder, texts, **fields)


def test_hmdb_one_is_training_two_is_test_and_zero_is_not_used(tmp_path):
    spec = make_hmdb(tmp_path)
    assert spec.classes() == ("brush_hair", "catch")
    train, test = spec.clips("train"), spec.clips("test")
    assert [clip.path.removeprefix(f"{tmp_path}/") for clip in train] == [
        "brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi",
        "catch/#20_Rhythm_catch_f_nm_np1_fr_med_0.avi",
    ]
    assert [clip.label for clip in train] == [0, 1]
    assert [(clip.path.rpartition("/")[2], clip.label) for clip in test] == [
        ("Brushing & Combing_brush_hair_f_nm_np1_ba_goo_2.avi", 0)
    ]
    assert not any("Ball_catch" in clip.path for clip in [*train, *test])
    assert train[1].origin == f"{tmp_path}/catch_test_split1.txt:2"
    assert spec.usual_classes() == 51
    spec.check()


def test_hmdb_folds_and_words(tmp_path):
    make_hmdb(tmp_path)
    second = {"brush_hair": BRUSH.translate({ord("1"): "2", ord("2"): "1"}).replace("np2", "np1"), "catch": CATCH}
    spec = write_hmdb(tmp_path, second, fold=2, names="words")
    assert spec.classes() == ("brush hair", "catch")
    assert [clip.label for clip in spec.clips("test")] == [0]
    assert "April" in spec.clips("test")[0].path
    with pytest.raises(InputError, match=r"no file of fold 3 is in it · allowed: a folder with brush_hair_test_split3"):
        dataset({"kind": "hmdb51", "annotations": str(tmp_path), "fold": 3}).check()


def test_hmdb_from_lists_of_papers_code(tmp_path):
    make_hmdb(tmp_path)
    (tmp_path / "train.txt").write_text("catch/#20_Rhythm_catch_f_nm_np1_fr_med_0.avi 1\n")
    lists = {"format": "list", "train_list": "train.txt", "test_list": "train.txt"}
    assert [clip.label for clip in write_hmdb(tmp_path, **lists).clips("train")] == [1]


WRONG_HMDB = {
    "another number": (
        BRUSH + "a.avi 3\n",
        r"hair_test_split1\.txt:3: found 'a\.avi 3' · allowed: video\.avi and 1",
    ),
    "no number": ("a.avi\n", r"split1\.txt:1: found 'a\.avi'"),
    "no extension": ("a 1\n", r"split1\.txt:1: found 'a 1'"),
    "twice": (BRUSH + BRUSH, r"brush_hair_test_split1\.txt:3: .*listed twice"),
    "missing": ("gone.avi 1\n", r"split1\.txt:1: 1 of 2 videos are not in .*: brush_hair/gone\.avi"),
    "leaves the root": ("../../gone.avi 1\n", r"split1\.txt:1: .*leaves the root"),
}


@pytest.mark.parametrize("case", WRONG_HMDB)
def test_a_wrong_file_of_hmdb_is_named_by_line(tmp_path, case):
    text, message = WRONG_HMDB[case]
    (tmp_path / "set").mkdir()
    with pytest.raises(InputError, match=message) as caught:
        make_hmdb(tmp_path / "set", {**HMDB, "brush_hair": text}).check()
    assert "\n" not in str(caught.value)


def test_a_fold_of_hmdb_without_test_videos(tmp_path):
    with pytest.raises(InputError, match="no line says that a video is for test"):
        make_hmdb(tmp_path, {"brush_hair": BRUSH.splitlines()[0], "catch": CATCH}).check()


@pytest.mark.parametrize("kind", ["ucf101", "hmdb51"])
def test_missing_videos_may_be_left_out(tmp_path, kind, caplog):
    make, write = (make_ucf, write_ucf) if kind == "ucf101" else (make_hmdb, write_hmdb)
    first = make(tmp_path).clips("train")[0]
    Path(first.path).unlink()
    with caplog.at_level(logging.WARNING):
        clips = write(tmp_path, missing_videos={"kind": "skip"}).clips("train")
    assert len(clips) == 1
    assert "left out 1 of 2 videos" in caplog.text
