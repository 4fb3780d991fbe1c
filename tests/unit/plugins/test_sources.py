"""Where plug-ins come from: which file or module is meant, and what is said about one that is none."""

import pytest
from click.testing import CliRunner

from plugin_files import SOURCE, write_plugin
from side4video.cli.main import cli
from side4video.core.errors import InputError
from side4video.plugins import allow_plugins
from side4video.plugins.loading import load_plugins
from tiny import tiny

CUT = SOURCE[: SOURCE.index("PLUGIN = Plugin(")]
METHOD, NOISE = (f"{CUT}PLUGIN = Plugin({part})\n" for part in ("methods=(MaxProbe,)", "transforms=(Noise,)"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(*entries):
    with pytest.raises(InputError) as raised:
        load_plugins(entries)
    return str(raised.value)


def test_another_file_of_the_name_does_not_replace_the_documents_own(here):
    """The twin took the other one, and said nothing."""
    write_plugin(here, name="mine.py")
    write_plugin(here / "c", SOURCE + "# other\n", name="mine.py")
    allow_plugins("c/mine.py")
    assert "plugins.0: mine.py is not allowed here" in refused("mine.py")
    (here / "mine.py").unlink()
    assert load_plugins(["mine.py"])[0][0]["sha256"]  # it is not there, so its name finds it


def test_each_of_two_files_of_a_name_is_allowed_by_itself(here):
    write_plugin(here / "a", METHOD, name="parts.py")
    write_plugin(here / "b", NOISE, name="parts.py")
    allow_plugins("a/parts.py")
    assert "plugins.1: b/parts.py is not allowed here" in refused("a/parts.py", "b/parts.py")
    allow_plugins("b/parts.py")
    assert len(load_plugins(["a/parts.py", "b/parts.py"])[1]) == 2
    (here / "b" / "parts.py").unlink()
    assert "b/parts.py: no such file" in refused("a/parts.py", "b/parts.py")


def test_a_pinned_one_is_found_by_its_content(here):
    """A stored run and an exported model pin theirs: a file of another content in its place does not matter."""
    write_plugin(here, name="mine.py")
    allow_plugins("mine.py")
    pinned = tiny(plugins=["mine.py"]).resolved()
    (here / "mine.py").rename(write_plugin(here / "kept", name="mine.py"))
    write_plugin(here, SOURCE + "# newer\n", name="mine.py")
    allow_plugins("kept/mine.py")
    assert tiny(**pinned).plugins[0].sha256 == pinned["plugins"][0]["sha256"]


@pytest.fixture
def odd_paths(here):
    (here / "folder.py").mkdir()
    (here / "loop.py").symlink_to("loop.py")
    (here / "dangling.py").symlink_to("nothing.py")
    return here


ODD = [
    ("folder.py", "folder.py: it is a folder"),
    ("loop.py", "loop.py: a link that leads to itself"),
    ("dangling.py", "dangling.py: a link to a file that is not there"),
    ("absent.py", "absent.py: no such file"),
    ("absent/absent.py", "absent.py: no such file"),
]


@pytest.mark.parametrize(("name", "expected"), ODD)
def test_paths_that_are_no_file(odd_paths, monkeypatch, name, expected):
    done = CliRunner().invoke(cli, ["validate", "a.yaml", "--plugin", name])
    assert f"--plugin: {name.rpartition('/')[0]}{'/' if '/' in name else ''}{expected}" in str(done.exception)
    assert "did you mean" not in str(done.exception)
    with pytest.raises(InputError, match=expected):
        allow_plugins(name)
    monkeypatch.setenv("SIDE4VIDEO_PLUGINS", str(odd_paths / name))
    assert expected in refused(name)


@pytest.mark.parametrize("name", ["sys", "builtins", "math"])
def test_modules_without_python_source(name):
    allow_plugins(name)
    assert f"{name} is a module without Python source, so it is no plug-in" in refused(name)


def test_a_frozen_module_says_so():
    """The twin looked for a file that is called frozen."""
    allow_plugins("os")
    text = refused("os")
    assert "frozen:" not in text
    assert "is no plug-in" in text or "has no PLUGIN" in text


def test_a_folder_without_a_package(here, monkeypatch):
    (here / "no_package").mkdir()
    monkeypatch.syspath_prepend(here)
    allow_plugins("no_package")
    assert "no_package is a folder without __init__.py" in refused("no_package")


def test_a_package_above_that_fails(here, monkeypatch):
    write_plugin(here / "breaking_package", "raise BaseException('x')", name="__init__.py")
    monkeypatch.syspath_prepend(here)
    allow_plugins("breaking_package.parts")
    assert "breaking_package.parts cannot be imported: BaseException: x" in refused("breaking_package.parts")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (5, "5 names no plug-in · allowed: a file, a module"),
        (None, "an empty entry names no plug-in · allowed"),
        (True, "true names no plug-in"),
        (["a.py"], "['a.py'] names no plug-in · allowed"),
        ({"source": "a.py", "sha": 1}, "names no plug-in: unknown key 'sha', did you mean sha256?"),
        ({"source": "a.py", "zzz": 1}, "names no plug-in: unknown key 'zzz' · allowed"),
        ({"sha256": "0" * 64}, "names no plug-in: source is missing"),
        ({"source": 3}, "names no plug-in: source is no such text"),
        ({"source": "a.py", "sha256": "xyz"}, "names no plug-in: sha256 is no such text"),
        ("", "'' names no plug-in"),
    ],
)
def test_entries(entry, expected):
    assert f"plugins.0: {expected}" in refused(entry) or expected in refused(entry)


@pytest.mark.parametrize("name", ["a:b.py", "pkg:parts", "c:d/mine.py"])
def test_names_with_the_divider_of_the_variable(here, name):
    """The twin told to do what had been done."""
    if name.endswith(".py"):
        write_plugin((here / name).parent, name=name.rpartition("/")[2])
    with pytest.raises(InputError, match=r"has ':' in its name, which divides the paths in SIDE4VIDEO_PLUGINS"):
        allow_plugins(name)
    assert "has ':' in its name" in refused(name)
    done = CliRunner().invoke(cli, ["validate", "a.yaml", "--plugin", name])
    assert f"{name} has ':' in its name" in str(done.exception)
