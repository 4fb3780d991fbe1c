"""Places for output are checked before the work, and two commands do not disturb each other's check."""

import errno
import os

import pytest

from side4video.core.errors import InputError
from side4video.terminal import options
from side4video.terminal.options import made_folder, page_path


def test_the_check_of_a_page_leaves_nothing(tmp_path):
    assert page_path(str(tmp_path / "new" / "page.html")) == tmp_path / "new" / "page.html"
    assert list((tmp_path / "new").iterdir()) == []
    assert page_path(None) is None


def test_the_check_of_a_page_uses_no_name_that_another_may_remove(tmp_path):
    """Two commands that write one page check it at once."""
    other = tmp_path / ".page.html.partial"
    other.write_text("of another command")
    page_path(str(tmp_path / "page.html"))
    assert other.read_text() == "of another command"


@pytest.mark.parametrize(
    ("code", "message"), [(errno.ENOSPC, "no space left on the device: .* free"), (errno.EROFS, "is read-only")]
)
def test_a_disk_that_takes_nothing_is_said_with_the_fix(code, message, tmp_path, monkeypatch):
    def fails(*arguments, **named):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(options.tempfile, "TemporaryFile", fails)
    with pytest.raises(InputError, match=f"^{tmp_path}: .*{message}.* · fix: "):
        page_path(str(tmp_path / "page.html"))
    monkeypatch.setattr(options.Path, "mkdir", fails)
    with pytest.raises(InputError, match=f"^{tmp_path}/out: .*{message}.* · fix: "):
        made_folder(tmp_path / "out")
