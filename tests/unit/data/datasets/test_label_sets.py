"""Charades and EPIC-KITCHENS-100 from small files in their original forms, and the traps in these."""

import pytest

from side4video.core.errors import InputError
from side4video.data.datasets import CharadesSpec, EpicKitchensSpec

CHARADES = "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length\n"
EPIC = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame,"
    "narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
)


def video(identifier, actions, length="30.00", script="Someone, with a cup,\nsits."):
    return f'{identifier},S1,Kitchen,6,7,Yes,"{script}",cup;door,"He sits; he stands.",{actions},{length}\n'


def span(number, start, stop, *, verb=0, noun=1, video_id="P01_01", nouns="['cup', 'tap']"):
    times = f"00:00:00.10,{start},{stop},8,202"
    return f'{video_id}_{number},P01,{video_id},{times},take cup,take,{verb},cup,{noun},"{nouns}","[1, 0]"\n'


def charades(folder, rows, **fields):
    (folder / "Charades_v1_classes.txt").write_text("c000 Holding some clothes\nc001 Sitting\nc002 Opening a door\n")
    for split in ("train", "test"):
        (folder / f"Charades_v1_{split}.csv").write_text(CHARADES + rows)
    return CharadesSpec(annotations=str(folder), **fields)


def epic(folder, rows, **fields):
    (folder / "EPIC_100_verb_classes.csv").write_text(
        "id,key,instances,category\n0,take,\"['take', 'grab']\",retrieve\n1,put,['put'],leave\n"
    )
    (folder / "EPIC_100_noun_classes.csv").write_text("id,key,instances,category\n0,tap,\"['tap']\",a\n1,cup,[],b\n")
    for split in ("train", "validation"):
        (folder / f"EPIC_100_{split}.csv").write_text(EPIC + rows)
    return EpicKitchensSpec(annotations=str(folder), **fields)


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_charades_gives_each_class_of_a_video_once(tmp_path):
    touch(tmp_path, "AB.mp4", "CD.mp4")
    spec = charades(
        tmp_path, video("AB", "c002 11.90 21.20;c000 0.00 12.60;c002 25.00 28.00") + video("CD", "c001 0 5")
    )
    assert spec.classes() == ("Holding some clothes", "Sitting", "Opening a door")
    one, two = spec.clips("train")
    assert (one.label, one.labels, one.path) == (None, (0, 2), str(tmp_path / "AB.mp4"))
    assert two.labels == (1,)
    assert spec.heads() == {}
    assert spec.flipped_classes() == {0: 0, 1: 1, 2: 2}


def test_charades_trap_an_action_that_ends_after_the_video(tmp_path):
    """Whole videos are read, so its class counts and its time does nothing."""
    touch(tmp_path, "AB.mp4")
    (clip,) = charades(tmp_path, video("AB", "c001 20.00 48.00", length="30.67")).clips("test")
    assert (clip.labels, clip.start_seconds, clip.end_seconds) == ((1,), None, None)


def test_charades_trap_a_video_without_actions(tmp_path):
    touch(tmp_path, "AB.mp4")
    (clip,) = charades(tmp_path, video("AB", "")).clips("train")
    assert clip.labels == ()


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (video("AB", "c003 0 1"), r"train\.csv:2: c003 is no class · allowed: c000 to c002"),
        (video("AB", "c001 0"), r"train\.csv:2: an action is 'c001 0'"),
        (video("AB", "c001 0 1") + video("AB", "c001 0 1"), "listed twice"),
        (video("XY", "c001 0 1"), "1 of 1 videos are not in"),
    ],
)
def test_charades_mistakes_name_the_line(tmp_path, rows, found):
    touch(tmp_path, "AB.mp4")
    with pytest.raises(InputError, match=found):
        charades(tmp_path, rows).clips("train")


def test_charades_codes_without_gaps(tmp_path):
    spec = charades(tmp_path, video("AB", ""))
    (tmp_path / "Charades_v1_classes.txt").write_text("c000 A\nc002 B\n")
    with pytest.raises(InputError, match=r"classes\.txt:2: found 'c002 B' · allowed: c001 and a name"):
        spec.classes()


def test_charades_skips_missing_videos(tmp_path):
    touch(tmp_path / "videos", "CD.avi")
    rows = video("AB", "c001 0 1") + video("CD", "c001 0 1")
    more = {"missing_videos": {"kind": "skip"}, "root": str(tmp_path / "videos"), "extension": ".avi"}
    assert [clip.path[-6:] for clip in charades(tmp_path, rows, **more).clips("train")] == ["CD.avi"]


def test_epic_gives_spans_with_a_verb_and_a_noun(tmp_path):
    touch(tmp_path, "P01/videos/P01_01.MP4")
    spec = epic(tmp_path, span(0, "00:00:00.14", "00:00:03.37") + span(1, "01:02:03.50", "01:02:04", verb=1, noun=0))
    assert spec.classes() == ()
    assert spec.heads() == {"verb": ("take", "put"), "noun": ("tap", "cup")}
    one, two = spec.clips("test")
    assert (one.path, one.label, one.labels) == (str(tmp_path / "P01/videos/P01_01.MP4"), None, None)
    assert (one.start_seconds, one.end_seconds, one.head_labels, one.group) == (0.14, 3.37, (0, 1), "P01_01")
    assert (two.start_seconds, two.end_seconds, two.head_labels) == (3723.5, 3724.0, (1, 0))
    assert spec.flipped_heads() == ({0: 0, 1: 1}, {0: 0, 1: 1})


def test_epic_trap_several_narrations_of_one_span(tmp_path):
    touch(tmp_path, "P01_01.mp4")
    same = [span(number, "00:00:01.00", "00:00:02.00", verb=number) for number in (0, 1)]
    spec = epic(tmp_path, "".join(same), video_folders="none", extension=".mp4")
    assert [clip.head_labels for clip in spec.clips("train")] == [(0, 1), (1, 1)]


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (span(0, "00:00:02.00", "00:00:02.00"), r"train\.csv:2: start 00:00:02.00 is not before stop"),
        (span(0, "00:61:00", "00:62:00"), r"train\.csv:2: start_timestamp is '00:61:00'"),
        (span(0, "1.5", "00:00:02"), r"start_timestamp is '1.5' · allowed: a time such as 00:01:02.50"),
        (span(0, "00:00:01", "00:00:02", verb=2), r"train\.csv:2: verb_class is '2' · allowed: 0 to 1"),
        (span(0, "00:00:01", "00:00:02", noun=-1), r"noun_class is '-1'"),
        (span(0, "00:00:01", "00:00:02") * 2, "listed twice"),
    ],
)
def test_epic_mistakes_name_the_line(tmp_path, rows, found):
    touch(tmp_path, "P01/videos/P01_01.MP4")
    with pytest.raises(InputError, match=found):
        epic(tmp_path, rows).clips("train")


def test_epic_trap_ids_of_classes_with_a_gap(tmp_path):
    spec = epic(tmp_path, span(0, "00:00:01", "00:00:02"))
    (tmp_path / "EPIC_100_verb_classes.csv").write_text("id,key\n0,take\n2,put\n")
    with pytest.raises(InputError, match=r"verb_classes\.csv:3: the id is '2' · allowed: 1"):
        spec.heads()


def test_plans_without_files_take_the_usual_numbers(tmp_path):
    from side4video.planning.class_count import count_classes, planned_heads
    from side4video.planning.meta_model import build_meta_model
    from tiny import tiny

    epic_spec = tiny(
        task={"kind": "multi-head"}, data={"dataset": {"kind": "epic-kitchens", "annotations": str(tmp_path / "none")}}
    )
    assert {name: len(names) for name, names in planned_heads(epic_spec).items()} == {"verb": 97, "noun": 300}
    assert count_classes(epic_spec, print) == 397
    assert build_meta_model(epic_spec, classes=397).module.head.noun_classifier.out_features == 300
    charades_spec = tiny(
        task={"kind": "multi-label"}, data={"dataset": {"kind": "charades", "annotations": str(tmp_path / "none")}}
    )
    assert count_classes(charades_spec, lambda text: None) == 157
