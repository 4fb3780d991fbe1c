"""What callers give becomes the same document as a file and `--set`, or the same sentence."""

import pytest
import yaml

import side4video
from side4video.api.documents import as_experiment, as_sweep
from side4video.spec.arm import load_sweep
from side4video.spec.load import load_experiment
from tiny import DOCUMENT, tiny

CHANGES = ("method.layers=1", "optimization.learning_rate=1e-5", "name=other")
VALUES = {"method.layers": 1, "optimization.learning_rate": 1e-5, "name": "other"}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(DOCUMENT))
    return path


@pytest.mark.parametrize(
    "overrides", [CHANGES, (VALUES,), (CHANGES[0], {"optimization.learning_rate": 1e-5}, CHANGES[2])]
)
def test_every_form_is_the_same_experiment(file, overrides):
    expected = load_experiment(file, CHANGES)
    for given in (file, str(file), DOCUMENT, tiny()):
        found = as_experiment(given, overrides)
        assert (found.digest(), found.name) == (expected.digest(), "other")
    assert as_experiment(expected) is expected


def test_a_change_that_is_lost_is_noticed(file):
    assert as_experiment(file, CHANGES[1:]).digest() != load_experiment(file, CHANGES).digest()


def test_a_document_stays_as_it_was():
    document = {**DOCUMENT, "method": {**DOCUMENT["method"]}}
    as_experiment(document, [{"method.layers": 1}])
    assert document == DOCUMENT


def test_presets_by_name():
    assert as_experiment("quickstart").digest() == load_experiment("quickstart").digest()


def sentence(call, *arguments):
    with pytest.raises(side4video.InputError) as caught:
        call(*arguments)
    return str(caught.value)


@pytest.mark.parametrize("change", ["method.layers=0", "method.width=3", "no-value", "name.first=1"])
def test_the_same_sentences(file, change):
    expected = sentence(load_experiment, file, [change])
    assert sentence(as_experiment, file, [change]) == expected
    assert sentence(as_experiment, "no-such-preset") == sentence(load_experiment, "no-such-preset")


def test_a_mapping_fails_with_the_words_of_set(file):
    assert sentence(as_experiment, file, [{"method.layers": 0}]) == sentence(load_experiment, file, ["method.layers=0"])
    assert "a value of the type object" in sentence(as_experiment, file, [{"method.layers": object()}])
    assert "a value of the type int" in sentence(as_experiment, file, [3])


def test_sweeps(tmp_path, file):
    document = {"name": "s", "base": "tiny.yaml", "grid": {"method.layers": [1, 2]}}
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(document))
    expected = [arm.key for arm in load_sweep(path, ("seeds=2",)).arms]
    assert len(expected) == 4
    for base in (str(file), DOCUMENT, tiny()):
        found = as_sweep({**document, "base": base}, [{"seeds": 2}])
        assert [arm.key for arm in found.arms] == expected
    assert [arm.key for arm in as_sweep(path, ["seeds=2"]).arms] == expected
    sweep = load_sweep(path)
    assert as_sweep(sweep) is sweep
    assert "validated before" in sentence(as_sweep, sweep, ["seeds=2"])
    assert sentence(as_sweep, file) == sentence(load_sweep, file)
