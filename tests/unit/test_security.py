"""Nothing that a user's file holds is executed, no server is open to others unasked, no secret is shown. Each rule has
a twin that plants a violation and must find it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "platform" / "side4video"

# ---- what executes what it reads

OURS = {
    "distributed/decoding.py": {"pickle.loads"},  # what the cluster's own tasks send each other
    "plugins/files/__init__.py": {"exec"},  # plug-ins that the user allowed by name
    "apps/check_plugin/dataset_rules.py": {"pickle.loads"},  # bytes that the line before made
    "apps/check_plugin/transform_rules.py": {"pickle.loads"},
}
RUNS_A_FILE = {
    *(f"pickle.{name}" for name in ("load", "loads", "Unpickler")),
    *(f"{module}.load" for module in ("joblib", "dill", "cloudpickle", "marshal", "shelve")),
    *(f"yaml.{name}" for name in ("unsafe_load", "full_load", "unsafe_load_all", "full_load_all", "load_all")),
    *("eval", "exec", "os.system", "os.popen", "pandas.read_pickle", "runpy.run_path"),
}
SAFE_LOADERS = {"yaml.SafeLoader", "yaml.CSafeLoader", "SafeLoader", "_Loader"}
"""`_Loader` is a SafeLoader that refuses keys given twice; a test below holds it."""


def executing_calls(source: str) -> list[str]:
    """Calls that may run what a file holds."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        loader = given.get("Loader") or (ast.unparse(node.args[1]) if len(node.args) > 1 else "")
        if (
            name in RUNS_A_FILE
            or (name == "torch.load" and given.get("weights_only") != "True")
            or (name in ("yaml.load", "yaml.compose") and loader not in SAFE_LOADERS)
            or (name.endswith("np.load") and given.get("allow_pickle", "False") != "False")
            or given.get("shell", "False") != "False"
        ):
            found.append(name)
    return found


def test_nothing_executes_what_a_file_holds():
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        calls = set(executing_calls(file.read_text(encoding="utf-8")))
        name = file.relative_to(PACKAGE).as_posix()
        if calls - OURS.get(name, set()):
            found[name] = calls
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        "pickle.load(file)",
        "pickle.Unpickler(file)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=trusted)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.load(text, yaml.FullLoader)",
        "yaml.load(text)",
        "yaml.unsafe_load(text)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(line, shell=True)",
        "eval(text)",
    ],
)
def test_what_would_execute_a_file_is_noticed(line):
    assert executing_calls(f"def read():\n    return {line}\n")


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path, map_location='cpu', weights_only=True)",
        "yaml.load(text, Loader=_Loader)",
        "yaml.safe_load(text)",
        "np.load(path)",
        "model.eval()",
        "subprocess.run([program])",
    ],
)
def test_what_reads_only_is_let_be(line):
    assert executing_calls(line) == []


@pytest.mark.parametrize("unpickler", ["data/annotations/pickles.py", "models/towers/torchscript.py"])
def test_unpicklers_of_users_files_are_of_the_kind_that_imports_by_list(unpickler):
    """The two that read pickles have a `find_class` of their own, which is where a pickle would import things."""
    classes = [
        node for node in ast.walk(ast.parse((PACKAGE / unpickler).read_text())) if isinstance(node, ast.ClassDef)
    ]
    kinds = [node for node in classes if any(ast.unparse(base) == "pickle.Unpickler" for base in node.bases)]
    assert kinds
    for kind in kinds:
        assert "find_class" in {node.name for node in kind.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("text", ["!!python/object/apply:os.system [id]", "a: !!python/name:os.system"])
def test_a_document_that_asks_for_python_is_refused(text):
    import yaml

    from side4video.core.errors import InputError
    from side4video.spec.load import _Loader, read_yaml

    assert issubclass(_Loader, yaml.SafeLoader)
    with pytest.raises(InputError):
        read_yaml(text, "a.yaml")


@pytest.fixture
def store(tmp_path, monkeypatch):
    from side4video.tracking.mlflow.store import MLflowStore

    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return MLflowStore()


# ---- servers


@pytest.mark.parametrize("command", ["ui", "services"])
def test_servers_listen_on_loopback_unless_told(command):
    from importlib import import_module

    from side4video.core.network import is_localhost

    found = getattr(import_module(f"side4video.apps.mlflow_ui.{command}"), command)
    (host,) = [option for option in found.params if option.name == "host"]
    assert is_localhost(host.default)


def test_the_tracking_server_itself_does(store):
    from side4video.core.network import is_localhost
    from side4video.tracking.mlflow.server import TrackingServer

    assert is_localhost(TrackingServer(store).host)


def test_rays_dashboard_here_is_on_loopback(monkeypatch):
    import ray

    from side4video.core.network import is_localhost
    from side4video.distributed.cluster import _connect

    asked = {}
    monkeypatch.setattr(ray, "init", lambda **options: asked.update(options))
    _connect(ray, "local")
    assert is_localhost(asked["dashboard_host"])


# ---- secrets


def test_what_a_run_keeps_of_its_spec_holds_no_secret(store):
    import json

    from tiny import tiny

    spec = tiny(tracking={"uri": "http://me:hunter2@host:5000", "tags": {"api_key": "hunter2", "note": "x"}})
    run_id = store.start_run(name="a", key="k", params=spec.resolved(), tags={"uri": spec.tracking.uri})
    store.log_json(run_id, spec.resolved(), "spec.json")
    kept = store.get(run_id)
    assert "hunter2" not in json.dumps([dict(kept.params), dict(kept.tags)])
    assert kept.params["tracking.tags.note"] == "x"


def test_the_artifact_holds_none_either(store, tmp_path):
    run_id = store.start_run(name="a", key="k")
    store.log_json(run_id, {"uri": "http://me:hunter2@host", "aws_secret_access_key": "hunter2"}, "spec.json")
    assert "hunter2" not in store.download(run_id, "spec.json", tmp_path).read_text()


# ---- archives


def test_a_members_name_is_no_path(tmp_path):
    """An archive whose members are called as files outside it: they are read from the archive, and nothing is made."""
    import io
    import tarfile

    from side4video.data.storage import read_bytes
    from side4video.data.tar_members import list_members

    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "outside.mp4").write_bytes(b"not this")
    with tarfile.open(folder / "a.tar", "w") as archive:
        for name in ("../outside.mp4", str(tmp_path / "outside.mp4"), "a/../../outside.mp4"):
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"this"))
        link = tarfile.TarInfo("link.mp4")
        link.type, link.linkname = tarfile.SYMTYPE, "../outside.mp4"
        archive.addfile(link)
    before = sorted(tmp_path.rglob("*"))
    members = list_members(str(folder / "a.tar"))
    assert len(members) == 3  # a link is none
    assert [read_bytes(member.address) for member in members] == [b"this"] * 3
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_here_turns_rays_token_off():
    """Ray's own ports listen on all addresses; what guards them is the token, which a Ray from here has by default."""
    assert [file for file in PACKAGE.rglob("*.py") if "RAY_AUTH_MODE" in _assigned(file.read_text())] == []


def _assigned(source: str) -> set[str]:
    """Names of environment variables that a module sets."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call | ast.Assign | ast.Dict)]
    found = set()
    for node in calls:
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.setdefault", "os.putenv"):
            found.add(ast.literal_eval(node.args[0]) if isinstance(node.args[0], ast.Constant) else "")
        if isinstance(node, ast.Assign) and "os.environ[" in ast.unparse(node.targets[0]):
            found.add(ast.unparse(node.targets[0]).split("'")[1] if "'" in ast.unparse(node.targets[0]) else "")
        if isinstance(node, ast.Dict):
            found |= {key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
    return found


@pytest.mark.parametrize(
    "line",
    [
        "os.environ['RAY_AUTH_MODE'] = 'disabled'",
        "os.environ.setdefault('RAY_AUTH_MODE', 'disabled')",
        "{'RAY_AUTH_MODE': 'x'}",
    ],
)
def test_turning_it_off_is_noticed(line):
    assert "RAY_AUTH_MODE" in _assigned(line)
