"""Files of class names: a header is understood or refused, and never a class that moves all others."""

import pytest

from side4video.core.errors import InputError
from side4video.data.annotations.class_names import read_class_names


def read(folder, *lines):
    (folder / "names.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_class_names(folder / "names.txt")


@pytest.mark.parametrize(
    "header", ["id,name", "ID,Name", "id, name", "index,class", "class_id,class_name", '"id","name"']
)
def test_a_header_of_numbers_and_names(tmp_path, header):
    assert read(tmp_path, header, "0,wave", '1,"clap"') == ("wave", "clap")


@pytest.mark.parametrize("header", ["nr,was", "id;name", "number,what it is", "name"])
def test_another_header_above_numbers_is_refused(tmp_path, header):
    with pytest.raises(InputError, match=r"names\.txt:1: .* looks like a header.*fix: write id,name"):
        read(tmp_path, header, "0,wave", "1,clap")


@pytest.mark.parametrize("header", ["class", "Class Name", "class_name", "labels", "Label"])
def test_a_header_above_names_is_refused(tmp_path, header):
    with pytest.raises(InputError, match=r"names\.txt:1: .* looks like a header.*fix: remove the line"):
        read(tmp_path, header, "wave", "clap")


@pytest.mark.parametrize(
    "names", [("wave", "clap"), ("jump, high", "run, fast"), ("classy", "labelling"), ("0", "1"), ("wave",)]
)
def test_names_are_no_header(tmp_path, names):
    assert read(tmp_path, *names) == names
