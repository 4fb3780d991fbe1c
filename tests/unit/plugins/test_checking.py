"""What is wrong with the `PLUGIN` of a module is one sentence, whatever it is."""

import pytest
from click.testing import CliRunner

from plugin_files import SOURCE, write_plugin
from side4video.cli.main import cli
from side4video.core.errors import InputError
from side4video.plugins import allow_plugins
from side4video.plugins.loading import load_plugin
from tiny import tiny

BEGIN = "from typing import Literal\nfrom side4video.plugins import *\n"
METRIC = "MetricSpec('a', 'title', len)"
TRANSFORM = """
class {name}(TransformSpec):
    kind: {type} = "{kind}"

    def apply(self, frames_THWC, rng):
        return frames_THWC
"""


def transform(name="A", kind="x", type=None):  # noqa: A002 - the word of the language
    return TRANSFORM.format(name=name, kind=kind, type=type or f'Literal["{kind}"]')


def message(tmp_path, source):
    """The sentence that says what is wrong with a plug-in."""
    file = write_plugin(tmp_path, source)
    allow_plugins(file)
    with pytest.raises(InputError) as raised:
        load_plugin(str(file))
    text = str(raised.value)
    assert "\n" not in text
    assert str(file) in text
    return text


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ("datasets=DatasetSpec", "datasets is the class DatasetSpec · allowed: a tuple of classes · fix: datasets=(Da"),
        ("methods={MethodSpec}", "methods is a set · allowed: a tuple of classes · fix: methods=(...,)"),
        ("transforms=None", "transforms is None · allowed: a tuple of classes"),
        ("transforms='A'", "transforms is 'A' · allowed: a tuple of classes"),
        (f"recognition_metrics={METRIC}", "recognition_metrics is a MetricSpec · allowed: a tuple of metrics"),
        (f"retrieval_metrics={METRIC}", "retrieval_metrics is a MetricSpec · allowed: a tuple of metrics"),
        ("datasets=(None,)", "None is not a subclass of DatasetSpec · fix: write the class itself"),
        ("", "PLUGIN has no parts · allowed: a part at least"),
        ("recognition_metrics=(MetricSpec(3, 't', len),)", "name of the metric 3 is 3 · allowed: a text"),
        ("recognition_metrics=(MetricSpec('', 't', len),)", "metric name 'eval/'"),
        ("recognition_metrics=(MetricSpec('a', None, len),)", "title of the metric a is None · allowed: a text"),
        ("recognition_metrics=(MetricSpec('a', 't', 'f'),)", "compute of the metric a is 'f' · allowed: a function"),
        (
            "retrieval_metrics=(MetricSpec('a', 't', len, better='higher'),)",
            "better of the metric a is 'higher' · allowed: 'max' or 'min'",
        ),
        (
            "retrieval_metrics=(MetricSpec('a', 't', len, unit='s'),)",
            "unit of the metric a is 's' · allowed: '%' or ''",
        ),
        ("retrieval_metrics=(MetricSpec('a', 't', len, heading=1),)", "heading of the metric a is 1"),
        ("retrieval_metrics=(MetricSpec('a', 't', len, in_summary=1),)", "in_summary of the metric a is 1"),
        ("retrieval_metrics=(MetricSpec('a', 't', len, hub='x'),)", "hub of the metric a is 'x'"),
        (f"retrieval_metrics=({METRIC}, {METRIC})", "the name a of a metric is taken"),
        (f"recognition_metrics=({METRIC}, {METRIC})", "the name a of a metric is taken"),
    ],
)
def test_parts_and_metrics_of_a_wrong_type(tmp_path, parts, expected):
    assert expected in message(tmp_path, f"{BEGIN}PLUGIN = Plugin({parts})")


def test_a_class_in_place_of_a_plugin(tmp_path):
    assert "PLUGIN is the class Plugin" in message(tmp_path, f"{BEGIN}PLUGIN = Plugin")


def test_a_metric_of_both_tasks_may_have_one_name(tmp_path):
    parts = f"recognition_metrics=({METRIC},), retrieval_metrics=({METRIC},)"
    file = write_plugin(tmp_path, f"{BEGIN}PLUGIN = Plugin({parts})")
    allow_plugins(file)
    assert load_plugin(str(file)).plugin.recognition_metrics


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (transform("A") + transform("B"), "the kind x of B is that of A, too"),
        (transform(kind="x", type='Literal["y"]'), "the kind of A is 'x', and its type is Literal['y']"),
        (
            transform(kind="x", type='Literal["x", "y"]'),
            "its type is Literal['x', 'y'] · allowed: a Literal of that one",
        ),
        (transform(kind="x", type="str"), "the kind of A is 'x', and its type is str"),
        (transform(kind="x y/ä"), "the kind 'x y/ä' of A · allowed: letters without accents"),
        ('class A(TransformSpec):\n    kind: Literal["x"] = "x"\n', "A has no apply()"),
    ],
)
def test_kinds(tmp_path, classes, expected):
    names = "A, B" if "class B" in classes else "A"
    assert expected in message(tmp_path, f"{BEGIN}{classes}\nPLUGIN = Plugin(transforms=({names},))")


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("datasets=(Named,)", "Named has no clips() · allowed: a class with classes(), clips()"),
        ("methods=(MaxProbe,)", "MaxProbe has no build()"),
    ],
)
def test_methods_that_a_part_cannot_do_without(tmp_path, part, expected):
    source = (
        SOURCE[: SOURCE.index("PLUGIN = Plugin(")].replace("def clips(", "def clip(").replace("def build(", "def b(")
    )
    assert expected in message(tmp_path, f"{source}PLUGIN = Plugin({part})")


def test_two_files_of_one_content_have_their_kinds_in_common(tmp_path):
    files = [write_plugin(tmp_path / name) for name in ("a", "b")]
    allow_plugins(*files)
    with pytest.raises(InputError, match=r"two plug-ins have .* among their .*a/my_parts\.py and .*b/my_parts\.py"):
        tiny(plugins=[str(file) for file in files])


@pytest.mark.parametrize("again", ["my_parts.py", "./my_parts.py"])
def test_a_plugin_is_named_once(plugin, monkeypatch, again):
    monkeypatch.chdir(plugin.parent)
    allow_plugins("my_parts.py")
    with pytest.raises(
        InputError, match=r"plugins\.1: .*my_parts\.py is the plug-in of plugins\.0 · allowed: each once"
    ):
        tiny(plugins=["my_parts.py", again])


def test_check_plugin_of_no_parts(tmp_path):
    """The twin said that 0 of 0 rules were kept."""
    file = write_plugin(tmp_path, f"{BEGIN}PLUGIN = Plugin()")
    done = CliRunner().invoke(cli, ["check-plugin", str(file), "--set", "a.b=1"])
    assert isinstance(done.exception, InputError)
    assert "PLUGIN has no parts" in str(done.exception)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("raise BaseException('x')", "BaseException: x (line 1)"),
        ("import pytest\npytest.skip('no', allow_module_level=True)", "Skipped: no"),
        ("raise GeneratorExit", "GeneratorExit (line 1)"),
        ("import asyncio\nraise asyncio.CancelledError", "CancelledError (line 2)"),
        ("raise MemoryError", "MemoryError (line 1)"),
    ],
)
def test_what_an_import_raises(tmp_path, source, expected):
    assert f"cannot be imported: {expected}" in message(tmp_path, source)


@pytest.mark.parametrize("name", ["KeyboardInterrupt", "Terminated"])
def test_a_stop_during_an_import_stays_a_stop(tmp_path, name):
    from side4video.core import errors

    kind = getattr(errors, name, KeyboardInterrupt)
    file = write_plugin(tmp_path, f"from side4video.core.errors import *\nraise {name}")
    allow_plugins(file)
    with pytest.raises(kind):
        load_plugin(str(file))
