"""A plug-in is loaded if it is allowed, is what the document means, and fits; else a sentence says why not."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from plugin_files import SOURCE, write_plugin
from side4video.core.dotted import dotted
from side4video.core.errors import InputError
from side4video.plugins import allow_plugins
from side4video.spec.load import load_experiment
from side4video.spec.protocol import protocol
from tiny import DOCUMENT, merged, tiny

BEGIN = "from side4video.plugins import *\nfrom typing import Literal\n"


def with_plugin(file, **changes):
    return tiny(plugins=[str(file)], **changes)


def test_parts_of_a_plugin_are_members_of_the_unions(plugin, tmp_path):
    allow_plugins(plugin)
    spec = with_plugin(
        plugin,
        method={"kind": "max-probe", "hidden": 24},
        data={"dataset": {"kind": "named", "root": "clips"}, "augmentation": {"transforms": [{"kind": "noise"}]}},
    )
    assert spec.method.hidden == 24
    assert [each.strength for each in spec.data.augmentation.transforms] == [8]
    assert [metric.name for metric in spec.plugin_metrics] == ["share_sure"]
    assert spec.metrics[-1].title == "sure answers"
    document = spec.resolved()
    assert document["method"] == {"kind": "max-probe", "hidden": 24}
    assert document["data"]["dataset"] == {"kind": "named", "root": "clips"}
    assert document["data"]["augmentation"]["transforms"] == [{"in_evaluation": False, "kind": "noise", "strength": 8}]
    again = tiny(**document)
    assert again == spec
    assert again.digest() == spec.digest()
    assert pickle.loads(pickle.dumps(spec)) == spec  # noqa: S301


def test_a_document_alone_runs_nothing(tmp_path):
    ran = tmp_path / "ran"
    file = write_plugin(tmp_path, f"open({str(ran)!r}, 'w').close()\n{SOURCE}")
    with pytest.raises(InputError, match=r"is not allowed here: a document alone never runs code.*--plugin"):
        with_plugin(file)
    assert not ran.exists()
    allow_plugins(file)
    with_plugin(file)
    assert ran.exists()


def test_kinds_are_allowed_in_documents_that_name_the_plugin(plugin):
    allow_plugins(plugin)
    with_plugin(plugin, method={"kind": "max-probe"})
    with pytest.raises(InputError, match="unknown kind 'max-probe'"):
        tiny(method={"kind": "max-probe"})
    with pytest.raises(InputError, match=r"unknown kind 'noise'.*name the plug-in's file"):
        tiny(data={"augmentation": {"transforms": [{"kind": "noise"}]}})


def test_mistakes_in_its_fields_are_told_as_of_other_parts(plugin):
    allow_plugins(plugin)
    for changes, message in (
        (
            {"method": {"kind": "max-probe", "hiden": 3}},
            r"method.hiden: unknown key 'hiden' · allowed: hidden, kind .* did you mean hidden\?",
        ),
        (
            {"method": {"kind": "max-prob"}},
            r"method: unknown kind 'max-prob' · fix: did you mean max-probe\? · allowed: max-probe, ",
        ),
        ({"method": {"kind": "max-probe", "hidden": "x"}}, r"method.hidden: 'x' · allowed: a whole number"),
        (
            {"data": {"augmentation": {"transforms": [{"kind": "noise", "strenth": 3}]}}},
            r"transforms.0.strenth: unknown key .* did you mean strength",
        ),
        (
            {"data": {"augmentation": {"transforms": [{"kind": "noize"}]}}},
            r"transforms.0: unknown kind 'noize' · allowed: noise",
        ),
        ({"data": {"dataset": {"kind": "named"}}}, r"data.dataset.root: missing"),
    ):
        with pytest.raises(InputError, match=message):
            with_plugin(plugin, **changes)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = (", r"cannot be imported: SyntaxError: .*line 1"),
        ("\n\nraise RuntimeError('no')", r"cannot be imported: RuntimeError: no \(line 3\)"),
        ("import sys\nsys.exit(3)", r"cannot be imported: SystemExit: 3"),
        ("import no_such_library", r"cannot be imported: ModuleNotFoundError: No module named 'no_such_library'"),
        ("", "has no PLUGIN"),
        ("PLUGIN = 3", "PLUGIN is a int"),
        (f"{BEGIN}PLUGIN = Plugin(methods=['a'])", "'a' is not a subclass of MethodSpec"),
        (f"{BEGIN}class A(Spec): pass\nPLUGIN = Plugin(datasets=(A,))", "A is not a subclass of DatasetSpec"),
        (f"{BEGIN}class A(MethodSpec): pass\nPLUGIN = Plugin(methods=(A,))", "A has no kind"),
        (
            f'{BEGIN}class A(MethodSpec):\n    kind: Literal["linear"] = "linear"\nPLUGIN = Plugin(methods=(A,))',
            "the kind linear of A is one of the package's",
        ),
        (f"{BEGIN}PLUGIN = Plugin(recognition_metrics=(MetricSpec('top1', 'x', len),))", "the name top1 .* is taken"),
        (f"{BEGIN}PLUGIN = Plugin(recognition_metrics=(MetricSpec('a|b', 'x', len),))", "metric name 'eval/a|b'"),
        (f"{BEGIN}PLUGIN = Plugin(recognition_metrics=(3,))", "int among the metrics"),
    ],
)
def test_a_broken_plugin_is_one_sentence(tmp_path, source, message):
    file = write_plugin(tmp_path, source)
    allow_plugins(file)
    with pytest.raises(InputError, match=message) as raised:
        with_plugin(file)
    assert str(raised.value).count("\n") == 0
    assert "plugins.0" in str(raised.value)


def test_a_missing_one_is_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"plug-ins: .*none\.py: no such file .* check the path"):
        allow_plugins(tmp_path / "none.py")
    monkeypatch.setenv("SIDE4VIDEO_PLUGINS", str(tmp_path / "none.py"))
    with pytest.raises(InputError, match=r"none\.py: no such file"):
        with_plugin(tmp_path / "none.py")
    allow_plugins("no_such_package.parts")
    with pytest.raises(InputError, match=r"there is no module no_such_package\.parts"):
        tiny(plugins=["no_such_package.parts"])


@pytest.mark.parametrize("entries", ["my_parts.py", {"source": "a.py"}, [3], [{"path": "a.py"}], [{"source": ""}]])
def test_entries_that_name_nothing(entries):
    with pytest.raises(InputError, match=r"plugins(\.0)?: .* · allowed: a (list|file, a module)"):
        tiny(plugins=entries)


def test_a_changed_source_is_another_experiment_and_a_pinned_one_is_refused(plugin):
    allow_plugins(plugin)
    before = with_plugin(plugin)
    plugin.write_text(SOURCE + "\n# changed\n")
    after = with_plugin(plugin)
    assert after.digest() != before.digest()
    with pytest.raises(InputError, match=r"my_parts\.py was changed: its SHA-256 is"):
        tiny(**before.resolved())
    plugin.write_text(SOURCE)
    assert tiny(**before.resolved()).digest() == before.digest()


def test_where_the_source_lies_is_not_part_of_the_experiment(plugin, tmp_path):
    other = write_plugin(tmp_path / "elsewhere")
    allow_plugins(plugin, other)
    assert with_plugin(plugin).digest() == with_plugin(other).digest()


def test_a_stored_document_finds_the_file_elsewhere_by_its_name_and_content(plugin, tmp_path):
    allow_plugins(plugin)
    stored = with_plugin(plugin).resolved()
    os.environ["SIDE4VIDEO_PLUGINS"] = ""
    plugin.unlink()
    changed = write_plugin(tmp_path / "changed", SOURCE + "# other\n")
    allow_plugins(changed, write_plugin(tmp_path / "moved"))
    assert tiny(**stored).digest() == tiny(**stored).digest()
    os.environ["SIDE4VIDEO_PLUGINS"] = str(changed)
    with pytest.raises(InputError, match="was changed"):
        tiny(**stored)


def test_an_installed_module_and_a_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write_plugin(tmp_path / "lab_parts", name="side.py")
    (tmp_path / "lab_parts" / "__init__.py").write_text("")
    allow_plugins("lab_parts.side")
    spec = tiny(plugins=["lab_parts.side"], method={"kind": "max-probe"})
    assert spec.plugins[0].source == "lab_parts.side"
    assert pickle.loads(pickle.dumps(spec)) == spec  # noqa: S301
    allow_plugins(tmp_path / "lab_parts" / "side.py")
    assert with_plugin(tmp_path / "lab_parts" / "side.py", method={"kind": "max-probe"}).digest() == spec.digest()
    (tmp_path / "lab_parts" / "side.py").write_text(SOURCE + "# changed\n")
    with pytest.raises(InputError, match="was changed after it was imported"):
        tiny(plugins=["lab_parts.side"])


def test_two_plugins_of_one_document_have_nothing_in_common(plugin, tmp_path):
    other = write_plugin(tmp_path / "b", SOURCE + "# other\n", name="others.py")
    allow_plugins(plugin, other)
    with pytest.raises(InputError, match=r"two plug-ins have .* among their"):
        tiny(plugins=[str(plugin), str(other)])


def test_a_child_process_runs_the_very_source(plugin, tmp_path):
    """The twin: a file that was changed in between is not run in its place."""
    allow_plugins(plugin)
    packet = tmp_path / "spec.pickle"
    packet.write_bytes(pickle.dumps(with_plugin(plugin, method={"kind": "max-probe", "hidden": 5}).method))
    code = f"import pickle; print(pickle.load(open({str(packet)!r}, 'rb')).hidden)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "5", done.stderr
    plugin.write_text(SOURCE + "# changed\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError" in done.stderr


def test_it_leaves_nothing_beside_the_file(plugin):
    allow_plugins(plugin)
    with_plugin(plugin)
    assert [path.name for path in plugin.parent.iterdir()] == [plugin.name]


def test_documents_without_plugins_keep_their_digest(plugin):
    with_field, without = tiny(plugins=[]), tiny()
    assert with_field.digest() == without.digest()
    allow_plugins(plugin)
    assert with_plugin(plugin).digest() != without.digest()


def test_a_transform_in_evaluation_and_a_metric_of_a_plugin_are_in_the_protocol(plugin):
    allow_plugins(plugin)

    def settings(metrics=(), **transform):
        spec = with_plugin(plugin, data={"augmentation": {"transforms": [{"kind": "noise", **transform}]}})
        return protocol(dotted(spec.resolved()), metrics=metrics)

    assert "data.augmentation.transforms" not in settings()
    assert "data.augmentation.transforms" in settings(in_evaluation=True)
    assert "plugins" not in settings(["eval/top1"])
    assert "plugins" in settings(["eval/share_sure"])


def test_a_file_of_an_experiment(plugin, tmp_path, monkeypatch):
    import yaml

    monkeypatch.chdir(plugin.parent)
    Path("a.yaml").write_text(yaml.safe_dump(merged(DOCUMENT, {"plugins": ["my_parts.py"]})))
    with pytest.raises(InputError, match=r"a\.yaml:\d+: plugins\.0: my_parts\.py is not allowed"):
        load_experiment("a.yaml")
    allow_plugins("my_parts.py")
    monkeypatch.chdir(tmp_path)  # what was allowed stays allowed wherever the process goes
    assert load_experiment(plugin.parent / "a.yaml").plugins[0].sha256
