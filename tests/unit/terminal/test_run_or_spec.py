"""Arguments that are a run or a spec: a file first, then a run, then a preset."""

import pytest

from side4video.core.errors import InputError
from side4video.terminal.run_or_spec import find_run, names_a_file


class Store:
    """A store of runs with these names."""

    def __init__(self, *names):
        self.names, self.asked = names, []

    def find(self, name, *, finished_first=False):
        self.asked.append(name)
        if name not in self.names:
            raise InputError(name, "no such run")
        return f"the run {name}"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["a.yaml", "a.yml", "ssv2/vitb16", "./quickstart"])
def test_a_path_is_no_run_and_the_store_is_not_asked(name):
    store = Store(name)
    assert names_a_file(name)
    assert find_run(store, name) is None
    assert store.asked == []


def test_a_run_wins_over_a_preset_and_a_file_over_both(empty_folder):
    assert find_run(Store(), "quickstart") is None
    assert find_run(Store("quickstart"), "quickstart") == "the run quickstart"
    (empty_folder / "quickstart").touch()
    assert find_run(Store("quickstart"), "quickstart") is None


def test_a_name_of_nothing_is_the_stores_error():
    with pytest.raises(InputError, match="quikstart: no such run"):
        find_run(Store(), "quikstart")
