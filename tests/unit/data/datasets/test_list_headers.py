"""First lines of lists: headers under other names are understood, and what is no clip becomes none."""

import pytest

from side4video.core.errors import InputError
from side4video.data.datasets import ListSpec

BODY = ("c00.mp4,open", "c01.mp4,close", "c02.mp4,open", "c03.mp4,close")
HEADERS = (
    *("path,label", "Path,Label", "PATH,LABEL", "video,class", "filename,class_name", "file_name,class-name"),
    *("Video Path,Class Name", "clip,target", "File,Category", "video,y", "name,action", "videos,labels"),
    *("#path,label", "# Video,Class"),
)


def listed(folder, lines, name="list.csv", **fields):
    (folder / name).write_text("\n".join(lines) + "\n")
    split = {"kind": "file", "test_annotations": str(folder / name)}
    return ListSpec(annotations=str(folder / name), **{"split_by": split, **fields})


def names(spec):
    return [clip.path.rsplit("/", 1)[-1] for clip in spec.clips("train")]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("delimiter", [",", "\t", " "])
def test_a_header_under_another_name_is_a_header(tmp_path, header, delimiter):
    if delimiter == " " and " " in header:
        pytest.skip("a space divides columns here")
    spec = listed(tmp_path, [line.replace(",", delimiter) for line in (header, *BODY)])
    assert spec.classes() == ("close", "open")
    assert names(spec) == ["c00.mp4", "c01.mp4", "c02.mp4", "c03.mp4"]


def test_columns_in_another_order_with_others_between(tmp_path):
    spec = listed(tmp_path, ["id,Class,notes,Video", "1,open,x,c00.mp4", "2,close,y,c01.mp4", "3,open,z,c02.mp4"])
    assert spec.classes() == ("close", "open")
    assert names(spec) == ["c00.mp4", "c01.mp4", "c02.mp4"]


@pytest.mark.parametrize(
    "header",
    [
        *("recording,emotion", "Aufnahme,Klasse", "my clip,what happens", "foo,bar,baz"),
        *("col1,col2", "0,1", "video.path,label.name", "clip id 1,label 1", "unnamed: 0,unnamed: 1"),
    ],
)
def test_an_unknown_header_is_refused_and_the_columns_are_named(tmp_path, header):
    extra = ",1" if header.count(",") == 2 else ""
    spec = listed(tmp_path, [header, *(line + extra for line in BODY)])
    with pytest.raises(InputError, match=r"list\.csv:1: the first line looks like a header of other columns") as caught:
        spec.classes()
    assert all(name in caught.value.found for name in header.split(","))
    assert "columns: {path: ..., label: ...}" in caught.value.fix


def test_the_document_names_the_columns(tmp_path):
    columns = {"path": "recording", "label": "emotion"}
    spec = listed(tmp_path, ["recording,emotion", *BODY], columns=columns)
    assert names(spec) == ["c00.mp4", "c01.mp4", "c02.mp4", "c03.mp4"]


def test_two_columns_that_may_be_the_path_are_refused(tmp_path):
    spec = listed(tmp_path, ["video,file,label", *(f"x,{line}" for line in BODY)])
    with pytest.raises(InputError, match="'video' and 'file' may both be the path"):
        spec.classes()


@pytest.mark.parametrize(
    "lines",
    [
        ("a.mp4,video", "b.mp4,class"),
        ("video/a.mp4,0", "video/b.mp4,1"),
        ("jump,0", "run,1", "walk,0"),  # folders of frames, all of them words
        ("clip 0", "other 1"),
        ("v.001,0", "v.002,1", "v.003,0"),  # a dot in the name of a folder
        ("a.avi,0", "b.mp4,1"),
        ("a.AVI,wave", "b.avi,clap"),
        ("clip_1,0", "clip_2,1"),
    ],
)
def test_a_first_clip_is_no_header(tmp_path, lines):
    spec = listed(tmp_path, lines)
    assert len(spec.clips("train")) == len(lines)


@pytest.mark.parametrize("header", ["clip_id_1,class", "c 1,target", "2021,emotion"])
def test_a_header_above_numbers_is_refused(tmp_path, header):
    """Folders of frames have names without endings."""
    spec = listed(tmp_path, [header, "vid1,0", "vid2,1", "vid3,0"], frame_pattern="{:05d}.jpg")
    with pytest.raises(InputError, match="looks like a header of other columns"):
        spec.classes()


@pytest.mark.parametrize(
    ("lines", "fix"),
    [
        (("path;label", "a.mp4;open"), "divide the columns by commas, not by semicolons"),
        (("a.mp4;open", "b.mp4;close"), "divide the columns by commas, not by semicolons"),
        ((",0,1", "0,a.mp4,open"), "a header of other names needs `columns` in the document"),
        (("a.mp4,a dog, running", "b.mp4,x"), "quote cells that hold the delimiter"),
    ],
)
def test_another_number_of_columns_says_what_may_be_meant(tmp_path, lines, fix):
    with pytest.raises(InputError, match=r"list\.csv:1: \d columns, where 2 are expected") as caught:
        listed(tmp_path, lines).classes()
    assert fix in caught.value.fix


def test_one_missing_label_does_not_turn_numbers_into_names(tmp_path):
    for missing in ("nan", "NaN", "None", "null", "N/A"):
        spec = listed(tmp_path, ["path,label", "c00.mp4,0", "c01.mp4,1", f"c02.mp4,{missing}"])
        with pytest.raises(InputError, match=rf"list\.csv:4: the label is '{missing}', and other labels are numbers"):
            spec.classes()
    with pytest.raises(InputError, match=r"the label is 'nan', and other labels are numbers"):  # as pandas writes it
        listed(tmp_path, ["path,label", "c00.mp4,0.0", "c01.mp4,1.0", "c02.mp4,nan"]).classes()
    assert listed(tmp_path, ["path,label", "c00.mp4,none", "c01.mp4,nan"]).classes() == ("nan", "none")
