import collections
import os
import pickle

import pytest

from side4video.core.errors import InputError
from side4video.data.annotations.pickles import read_plain_pickle

PLAIN = {"v1": [["a", "cat"], ["naïve", "🐈"]], "v2": [], "numbers": [1, 2.5, True, None, (1, 2)]}


class Payload:
    """What asks, when it is unpickled, for a function to be called."""

    def __init__(self, function, *arguments):
        self.asked = function, arguments

    def __reduce__(self):
        return self.asked


def pickled(tmp_path, content, protocol=4):
    path = tmp_path / "file.pkl"
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_content_is_read(tmp_path, protocol):
    assert read_plain_pickle(pickled(tmp_path, PLAIN, protocol)) == PLAIN


def test_text_of_python_2_is_read(tmp_path):
    # {'v': [['caf\xc3\xa9']]} as Python 2 wrote it, protocols 0 and 2.
    for content in (
        b"(dp0\nS'v'\np1\n(lp2\n(lp3\nS'caf\\xc3\\xa9'\np4\naas.",
        b"\x80\x02}U\x01v]]U\x05caf\xc3\xa9aas.",
    ):
        assert read_plain_pickle(pickled(tmp_path, content)) == {"v": [["café"]]}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_is_refused_and_nothing_is_executed(tmp_path, protocol):
    marker = tmp_path / "executed"
    path = pickled(tmp_path, {"v1": [["a", Payload(os.mkdir, str(marker))]]}, protocol)
    with pytest.raises(InputError, match=r"file\.pkl: the pickle asks for \w+\.mkdir, and nothing"):
        read_plain_pickle(path)
    assert not marker.exists()
    pickle.loads(path.read_bytes())  # noqa: S301 - the twin: an ordinary reader does what the file says
    assert marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        Payload(os.system, "true"),
        Payload(eval, "1"),
        Payload(getattr, "", "join"),
        {"v": [collections.OrderedDict()]},
        collections.defaultdict(list),
        {"v": print},
        [int],
        b"cos\nsystem\n(S'true'\ntR.",
        b"(S'true'\nios\nsystem\n.",
        b"(cos\nsystem\nS'true'\no.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        b"Pname of an object elsewhere\n.",
        b"\x80\x02X\x01\x00\x00\x00aQ.",
    ],
)
def test_whatever_would_be_imported_is_refused(tmp_path, content):
    with pytest.raises(InputError, match=r"file\.pkl: the pickle asks for .* lists, dictionaries, numbers and text"):
        read_plain_pickle(pickled(tmp_path, content))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        b"\x80\x63.",
        b"\x80\x04\x82\x01.",
        b"}b.",
        b"0.",
        b"\x80\x02}U\x05caf\xe9x]s.",
        pickle.dumps(PLAIN)[:-5],
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
    ],
)
def test_what_is_no_pickle_is_said_so(tmp_path, content):
    with pytest.raises(InputError, match=r"file\.pkl: not a readable pickle"):
        read_plain_pickle(pickled(tmp_path, content))


def test_a_missing_pickle(tmp_path):
    with pytest.raises(InputError, match=r"no\.pkl: the annotation file cannot be read: No such file"):
        read_plain_pickle(tmp_path / "no.pkl")


def test_a_pickle_that_changes_is_read_again(tmp_path):
    assert read_plain_pickle(pickled(tmp_path, {"a": []})) == {"a": []}
    assert read_plain_pickle(pickled(tmp_path, {"a": [], "b": []})) == {"a": [], "b": []}
