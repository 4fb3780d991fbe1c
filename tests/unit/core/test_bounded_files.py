"""Small files that would cost gigabytes: each is refused in a sentence, soon, in little memory."""

import pytest

from refused_files import FILES, read

SECONDS = 20
"""Python and torch start in three, on a slow day in ten."""
MIB = 300
"""Above a process that reads a good file of the same kind."""


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_would_cost_gigabytes_is_refused(tmp_path, what):
    kind, write = FILES[what]
    path = tmp_path / "file"
    write(path)
    said, seconds, mib = read(kind, path)
    assert said.startswith("refused: "), said
    assert len(said) < 10_000
    assert seconds < SECONDS
    assert mib < MIB


def test_aliases_that_a_person_writes_are_read(tmp_path):
    path = tmp_path / "file.yaml"
    path.write_text(
        "name: x\n"
        "backbone: &b {kind: vit, image_size: 32, patch_size: 8, width: 64, layers: 3, weights: {kind: random}}\n"
        "method: {kind: linear}\ndata: {size: 32, frames: 8, dataset: {kind: motion, size: 48}}\n"
    )
    assert read("document", path)[0] == "read"
