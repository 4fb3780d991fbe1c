"""Files of rows: the library reads what is written here, rows come back as they were, and damage is noticed."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from side4video.core.errors import InputError
from side4video.data.features.files import InvalidRowsFile, RowsFile, RowsWriter, row_bytes

ROWS = 5


def meta(*shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device="meta")


LAYOUT = {
    "numbers": meta(dtype=torch.int64),
    "flags": meta(dtype=torch.bool),
    "tokens": meta(3, 7, dtype=torch.bfloat16),
    "halves": meta(5, dtype=torch.float16),
    "wide": meta(2, 2),
    "codes": meta(3, 5, dtype=torch.int8),
    "frames": meta(1, 3, 3, dtype=torch.uint8),
}


def rows(count=ROWS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (torch.randn((count, *row.shape), generator=generator) * 50).abs().to(row.dtype)
        for name, row in LAYOUT.items()
    }


def write(path, parts=(2, 3), about=None):
    whole = rows()
    writer = RowsWriter(path, LAYOUT, rows=ROWS, about=about or {"place": 1})
    first = 0
    for part in parts:
        writer.write(first, {name: tensor[first : first + part] for name, tensor in whole.items()})
        first += part
    writer.finish()
    return whole


def test_the_library_reads_what_was_written_in_parts(tmp_path):
    path = tmp_path / "deep" / "rows.safetensors"
    whole = write(path)
    assert all(torch.equal(tensor, whole[name]) for name, tensor in load_file(path).items())
    with safe_open(path, framework="pt") as file:
        assert set(file.keys()) == set(LAYOUT)
        assert json.loads(file.metadata()["side4video"]) == {"place": 1}
    assert path.stat().st_size - ROWS * row_bytes(LAYOUT) < 1500
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_parts_do_not_show(tmp_path):
    for number, parts in enumerate([(5,), (1, 1, 3), (4, 1)]):
        write(tmp_path / str(number), parts)
    assert len({(tmp_path / str(number)).read_bytes() for number in range(3)}) == 1


def test_rows_come_back_one_by_one_and_together(tmp_path):
    whole = write(tmp_path / "rows")
    file = RowsFile(tmp_path / "rows")
    assert file.holds(LAYOUT, ROWS)
    assert file.about == {"place": 1}
    for name, tensor in whole.items():
        place = torch.empty((2, *tensor.shape[1:]), dtype=tensor.dtype)
        file.read_into(name, 3, place)
        assert torch.equal(place, tensor[3:5]), name
        assert torch.equal(file.read(name), tensor), name
    file.close()


def test_twin_that_forgets_the_header(tmp_path, monkeypatch):
    """Offsets in a safetensors file count from the header's end."""
    whole = write(tmp_path / "rows")
    file = RowsFile(tmp_path / "rows")
    file._tensors = {name: (dtype, shape, offset - 8) for name, (dtype, shape, offset) in file._tensors.items()}
    assert not torch.equal(file.read("tokens"), whole["tokens"])
    file.close()


def test_rows_that_nobody_wrote_are_zeros(tmp_path):
    writer = RowsWriter(tmp_path / "rows", LAYOUT, rows=ROWS, about={})
    writer.write(4, {name: tensor[4:] for name, tensor in rows().items()})
    writer.finish()
    loaded = load_file(tmp_path / "rows")
    assert all(not tensor[:4].any() for tensor in loaded.values())
    assert torch.equal(loaded["wide"][4], rows()["wide"][4])


def test_a_file_is_whole_or_absent(tmp_path):
    writer = RowsWriter(tmp_path / "rows", LAYOUT, rows=ROWS, about={})
    writer.write(0, rows(2))
    assert not (tmp_path / "rows").exists()
    writer.discard()
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "rows")
    again = RowsWriter(tmp_path / "rows", LAYOUT, rows=ROWS, about={})
    again.discard()
    assert RowsFile(tmp_path / "rows").holds(LAYOUT, ROWS)


@pytest.mark.parametrize("change", [lambda t: t.float(), lambda t: t[:, :2], lambda t: t.flatten(1)])
def test_rows_of_another_form_are_not_written(tmp_path, change):
    writer = RowsWriter(tmp_path / "rows", LAYOUT, rows=ROWS, about={})
    with pytest.raises(ValueError, match="tokens is"):
        writer.write(0, rows(1) | {"tokens": change(rows(1)["tokens"])})
    writer.discard()


DAMAGE = {
    "empty": lambda content: b"",
    "cut in the header": lambda content: content[:40],
    "cut in the rows": lambda content: content[:-1],
    "longer": lambda content: content + b"x",
    "text": lambda content: b"this is no file of rows" * 50,
    "another header": lambda content: content[:8] + b"[" + content[9:],
    "a huge header": lambda content: b"\xff" * 8 + content[8:],
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_none(tmp_path, kind):
    write(tmp_path / "rows")
    (tmp_path / "rows").write_bytes(DAMAGE[kind]((tmp_path / "rows").read_bytes()))
    with pytest.raises(InvalidRowsFile):
        RowsFile(tmp_path / "rows")


def test_a_file_of_the_library_is_none_of_ours(tmp_path):
    save_file(rows(), tmp_path / "rows")
    with pytest.raises(InvalidRowsFile, match="not one that a feature cache writes"):
        RowsFile(tmp_path / "rows")


def test_other_tensors_are_not_held(tmp_path):
    write(tmp_path / "rows")
    file = RowsFile(tmp_path / "rows")
    assert not file.holds(LAYOUT, ROWS + 1)
    assert not file.holds({**LAYOUT, "more": meta(1)}, ROWS)
    assert not file.holds({name: row for name, row in LAYOUT.items() if name != "wide"}, ROWS)
    assert not file.holds(LAYOUT | {"wide": meta(2, 2, dtype=torch.bfloat16)}, ROWS)
    assert not file.holds(LAYOUT | {"wide": meta(4)}, ROWS)
    file.close()


def test_a_file_that_is_cut_while_it_is_read_ends_in_one_line(tmp_path):
    """A map of it would end in a signal."""
    write(tmp_path / "rows")
    file = RowsFile(tmp_path / "rows")
    with (tmp_path / "rows").open("r+b") as other:
        other.truncate(300)
    with pytest.raises(InputError, match=r"rows: cannot be read: the file ends.*fix: remove the file") as caught:
        file.read("frames")
    assert "\n" not in str(caught.value)
    file.close()
