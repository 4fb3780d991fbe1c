"""`side4video serve` before anything is served: what is missing or wrong; and a page that no name can break."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import side4video
from side4video.apps.serve.command import serve
from side4video.apps.serve.served_model import ServedModel, serve_page
from side4video.apps.serve.server import Serving, _config, run_server
from side4video.core.errors import InputError
from side4video.core.network import names_here
from side4video.core.text import printable
from tiny import tiny


@pytest.fixture
def no_ray(monkeypatch):
    """The look at the extra imports Ray, privately for its whole process: not in that of the tests."""
    monkeypatch.setattr("side4video.apps.serve.server.check_extra", lambda: None)


@pytest.mark.parametrize("missing", ["python_multipart", "starlette", "uvicorn", "ray.serve"])
def test_a_missing_extra_is_one_line_with_the_command(missing, tmp_path):
    code = (
        "import sys\n"
        f"sys.modules[{missing!r}] = None\n"
        "from side4video.cli.main import main\n"
        f"sys.argv = ['side4video', 'serve', {str(tmp_path)!r}]\n"
        "main()\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(side4video.__file__).parents[1])}
    environment |= {"HOME": str(tmp_path), "SIDE4VIDEO_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: side4video serve: ")
    assert line.endswith("is not installed · fix: pip install 'side4video[serve]'")


def test_what_is_wrong_is_said_before_ray_starts(tmp_path, no_ray):
    refused = CliRunner().invoke(serve, [str(tmp_path), "--device", "cpu"])
    assert isinstance(refused.exception, InputError)
    assert "name a folder that `side4video export` wrote" in str(refused.exception)
    refused = CliRunner().invoke(serve, [str(tmp_path), "--device", "tpu"])
    assert str(refused.exception) == "--device: tpu · allowed: cpu, cuda"
    assert "Ray" not in refused.output


def test_another_address_is_warned_of(tmp_path, no_ray):
    refused = CliRunner().invoke(serve, [str(tmp_path), "--device", "cpu", "--host", "0.0.0.0"])  # noqa: S104 - refused
    assert "warning: there is no login" in refused.output
    refused = CliRunner().invoke(serve, [str(tmp_path), "--device", "cpu"])
    assert "warning" not in refused.output


def test_an_address_that_is_not_this_machines_is_refused(no_ray):
    serving = Serving("labels", "a", "", build=lambda: None, host="203.0.113.1", port=0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"--port: 203\.0\.113\.1:0: .* fix: name another one"):
        run_server(serving, lambda address: None)


def model(kind="labels", **changes):
    text = {"text": {"kind": "transformer"}}
    spec = tiny(**({} if kind == "labels" else {"task": {"kind": "retrieval"}, "backbone": text}))
    return ServedModel(
        **{"name": "clips", "spec": spec, "classes": (), "source": "run 612fb0e0", "build": None} | changes
    )


@pytest.mark.parametrize(
    ("count", "shown"), [(2, "class 0, class 1"), (20, "class 18, class 19"), (21, "class 19, and 1 more")]
)
def test_the_page_says_what_the_model_is(count, shown):
    classes = tuple(f"class {number}" for number in range(count))
    page = serve_page(model(classes=classes, source="run 612fb0e0 (clips), weights of epoch 3"), max_bytes=2**20)
    rows = re.findall(r'<tr><th scope="row">(.*)</th><td class="text">(.*)</td></tr>', page)
    assert [name for name, _ in rows] == ["task", "model", "loaded from", f"{count} classes"]
    values = dict(rows)
    assert values["task"] == "video classification"
    assert values["model"] == "side4video on vit, 4 frames of 32 x 32 pixels"
    assert values["loaded from"] == "run 612fb0e0 (clips), weights of epoch 3"
    assert values[f"{count} classes"].endswith(shown)
    assert "class 20" not in page


def test_a_retrieval_model_has_no_classes():
    facts = dict(model("search").facts)
    assert facts["task"] == "text-video retrieval"
    assert list(facts) == ["task", "model", "loaded from"]


@pytest.mark.parametrize("kind", ["labels", "search"])
def test_a_models_name_is_text_on_the_page(kind):
    name = "</script><script>alert(1)</script>'\""
    page = serve_page(model(kind, name=name, source=name, classes=(name, "b") * (kind == "labels")), max_bytes=2**20)
    assert page.count("<script") == page.count("</script>") == 2
    assert "&lt;/script&gt;" in page
    config = page.partition('id="config">')[2].partition("</script>")[0]
    assert json.loads(config) == {"kind": kind, "max_bytes": 2**20}
    assert ('id="text"' in page) == (kind == "search")
    assert "http" not in page.replace("http-equiv", "")


def test_options_reach_the_server(tmp_path):
    changes = {"host": "0.0.0.0", "allowed_hosts": ("video.example",), "upload_seconds": 7.0, "max_bytes": 9}  # noqa: S104
    config = _config(Serving("labels", "a", "", build=lambda: None, **changes), tmp_path)  # type: ignore[arg-type]
    assert (config.uploads.seconds, config.uploads.max_bytes) == (7.0, 9)
    for name in ("video.example", *names_here()):
        assert config.allowed.refusal({"host": name}, method="GET") is None
    private = _config(Serving("labels", "a", "", build=lambda: None), tmp_path)  # type: ignore[arg-type]
    assert private.allowed.names == ()


def test_the_pages_script_shows_controls_as_a_terminal_does():
    """The same characters, in the notation that both languages have."""
    script = (Path(side4video.__file__).parent / "reports/templates/serve.js").read_text()
    unsafe = re.search(r"UNSAFE = /(.*)/g;", script)
    assert unsafe is not None
    for code in range(0x3000):
        assert bool(re.match(unsafe[1], chr(code))) == (printable(chr(code)) != chr(code)), hex(code)
