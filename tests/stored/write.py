"""Write the stored files of the version that is checked out: `.venv/bin/python tests/stored/write.py`, some minutes.

They land in `tests/stored/<version>`, which must not be there. README.md says what each of them is.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
sys.path.insert(0, str(REPOSITORY / "tests/support"))

import stored_home  # noqa: E402 - found by the line above
from stored_home import Place  # noqa: E402

COMMAND = str(Path(sys.executable).with_name("side4video"))
TABLE_2 = ("vitb16-light", "vitb16", "vitl14-light", "vitl14")
QUICKSTART = (
    *("--set", "data.dataset.train_clips=64", "--set", "data.dataset.test_clips=16", "--set", "cluster.workers=1"),
    *("--set", "optimization.length={epochs: 2}", "--set", "optimization.warmup={steps: 2}"),
)
KILLED_AFTER_STEP = 16
SHOWN_ONLY = {".html", ".pdf", ".png", ".svg"}
"""Pictures and pages of a report: large, and nothing reads them back."""


def main() -> None:
    """Make everything in a temporary folder, then pack it."""
    version = HERE / metadata.version("side4video")
    if version.exists():
        sys.exit(f"{version} is there already: stored files are never changed")
    with tempfile.TemporaryDirectory() as scratch:
        place, undisturbed = (make_place(Path(scratch).resolve() / name) for name in ("stored", "undisturbed"))
        documents: dict[str, Any] = {}
        expected: dict[str, Any] = {}
        for step in (write_runs, write_sweeps, write_exports, write_packed, write_documents, write_outbox):
            print(f"{step.__name__} …", flush=True)  # noqa: T201
            step(place, undisturbed, documents, expected)
        golden = golden_figures(undisturbed)
        draft = Path(scratch) / "version"
        draft.mkdir()
        shutil.copyfile(
            undisturbed.artifact(undisturbed.run_id("long"), "checkpoint/*/weights.safetensors"),
            draft / "long.safetensors",
        )
        clean(place, expected)
        write_json(draft / "documents.json", documents)
        write_json(draft / "expected.json", expected)
        write_json(draft / "golden.json", golden)
        for file in draft.glob("*.json"):
            file.write_text(
                file.read_text(encoding="utf-8").replace(str(place.root), stored_home.ROOT), encoding="utf-8"
            )
        stored_home.write_archive(place.root, draft / "home.tar.xz")
        refuse_traces(place.root, scratch)
        refuse_traces(draft, scratch)
        shutil.copytree(draft, version)
    for file in sorted(version.iterdir()):
        print(f"{file.relative_to(REPOSITORY)}  {file.stat().st_size:,} bytes")  # noqa: T201


def make_place(root: Path) -> Place:
    """An empty home, and the documents to work with."""
    place = Place(root)
    place.home.mkdir(parents=True)
    shutil.copytree(HERE / "specs", place.work)
    return place


def write_json(file: Path, document: Any) -> None:
    """As a person reads it."""
    file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


# ---- runs


def write_runs(place: Place, undisturbed: Place, documents: dict[str, Any], expected: dict[str, Any]) -> None:
    """A finished run, one that was killed, one whose features are on disk."""
    documents["run"] = place.command("run", "tiny.yaml", "--local", "--json").json
    shutil.copytree(place.home / "data", undisturbed.home / "data")
    documents["run of long"] = undisturbed.command("run", "long.yaml", "--local", "--json").json
    documents["run of cached"] = place.command("run", "cached.yaml", "--local", "--json").json
    whole = undisturbed.run_id("long")
    expected["long"] = undisturbed.history(whole)
    kill(place, ["run", "long.yaml", "--local"], "long-*/checkpoint-*", KILLED_AFTER_STEP)
    (left,) = place.home.glob("runs/long-*/checkpoint-*")
    expected["long goes on from step"] = int(left.name.removeprefix("checkpoint-"))


def kill(place: Place, arguments: list[str], pattern: str, step: int) -> None:
    """Begin a command; end it (SIGKILL) when a checkpoint of this step or a later one lies there alone."""

    def is_reached() -> bool:
        found = sorted(place.home.glob(f"runs/{pattern}"))
        return len(found) == 1 and found[0].name.removeprefix("checkpoint-") >= f"{step:012d}"

    kill_when(place, arguments, is_reached)


def kill_when(place: Place, arguments: list[str], is_reached: Callable[[], bool]) -> None:
    """Begin a command, and end it (SIGKILL) as soon as a state is reached."""
    process = subprocess.Popen([COMMAND, *arguments], env=place.environment, cwd=place.work, stderr=subprocess.DEVNULL)
    try:
        while not is_reached():
            if process.poll() is not None:
                sys.exit(f"{arguments} ended before it could be killed")
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()


# ---- sweeps


def write_sweeps(place: Place, undisturbed: Place, documents: dict[str, Any], expected: dict[str, Any]) -> None:
    """A sweep that was killed, and one that was killed and then finished."""
    ended = undisturbed.command("sweep", "sweep-killed.yaml", "--local", "--json").json
    expected["killed sweep"] = {arm["hash"]: arm_end(arm) for arm in ended["arms"]}
    for name in ("killed", "finished"):
        kill_in_second_pack(place, name)
    sweep = ["sweep", "sweep-finished.yaml", "--local", "--json"]
    documents["sweep"] = place.command(*sweep).json
    documents["sweep again"] = place.command(*sweep).json
    documents["report of a sweep"] = place.command("report", "sweep", "sweep-finished", "--json").json


def arm_end(arm: dict[str, Any]) -> list[Any]:
    """What an arm ended with."""
    return [arm["state"], arm["metrics"]["eval/top1"], arm["metrics"]["eval/loss"]]


def kill_in_second_pack(place: Place, name: str) -> None:
    """A first pack is at its end; then the first checkpoints of another one come."""

    def is_reached() -> bool:
        files = (place.home / "runs").glob(f"sweep-{name}-*/*/checkpoint-*/checkpoint.json")
        packs = {file.parent.parent for file in files}
        whole = [len(list(pack.iterdir())) == 1 for pack in packs]
        newest = sorted(each.name for pack in packs for each in pack.glob("checkpoint-*"))
        return len(packs) == 2 and all(whole) and newest[0] >= f"checkpoint-{KILLED_AFTER_STEP:012d}"

    kill_when(place, ["sweep", f"sweep-{name}.yaml", "--local"], is_reached)


# ---- what is given away


def write_exports(place: Place, _: Place, documents: dict[str, Any], expected: dict[str, Any]) -> None:
    """Two folders, and what they say of videos."""
    run = place.run_id("tiny")
    videos = copy_videos(place)
    documents["export"] = place.command("export", run, "exported", "--json").json
    place.command("export", run, "exported-whole", "--with-backbone", "--json").json  # noqa: B018 - it must end well
    documents["predict"] = place.command("predict", "exported", *videos, "--json").json
    expected["videos"] = videos


def copy_videos(place: Place) -> list[str]:
    """Some clips of the built-in set, with a list."""
    (made,) = place.home.glob("data/motion-*/")
    clips = place.work / "clips"
    clips.mkdir()
    lines = ["path,label,split"]
    for split, number in (("train", 8), ("test", 4)):
        for file in sorted((made / split).iterdir())[:number]:
            shutil.copyfile(file, clips / f"{split}-{file.name}")
            lines.append(f"{split}-{file.name},{file.stem.rpartition('-')[2]},{split}")
    (clips / "list.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [f"clips/{line.split(',')[0]}" for line in lines[1:]]


def write_packed(place: Place, undisturbed: Place, documents: dict[str, Any], expected: dict[str, Any]) -> None:
    """A packed set, and what its frames are once they are decoded."""
    pack = ["data", "pack", "listed.yaml", "packed", "--short-side", "32", "--files-per-shard", "4", "--json"]
    documents["data pack"] = place.command(*pack).json
    for name in ("packed", "clips"):
        shutil.copytree(place.work / name, undisturbed.work / name)
    undisturbed.command("run", "packed.yaml", "--local", "--json").json  # noqa: B018 - it must end well
    expected["frames of packed"] = frames_of_packed(undisturbed)


def frames_of_packed(place: Place) -> dict[str, str]:
    """SHA-256 of the decoded frames, by file."""
    files = sorted((place.work / "frames-of-packed").rglob("video-*.safetensors"))
    return {f"{file.parent.name}/{file.name}": stored_home.tensors_sha256(file) for file in files}


def write_documents(place: Place, _: Place, documents: dict[str, Any], __: dict[str, Any]) -> None:
    """What further commands print with --json."""
    run = place.run_id("tiny")
    documents["evaluate"] = place.command("evaluate", run, "--json").json
    documents["evaluate views"] = place.command("evaluate", run, "--json", "--set", "data.views.clips=2").json
    documents["plan"] = place.command("plan", "tiny.yaml", "--json").json
    documents["plan of a sweep"] = place.command("plan", "sweep-finished.yaml", "--json").json
    documents["validate"] = place.command("validate", "tiny.yaml", "sweep-finished.yaml", "--json").json
    documents["report of table 2"] = place.command("report", "table2", "--json").json
    for kind in ("methods", "backbones", "datasets", "tasks"):
        documents[f"list {kind}"] = place.command("list", kind, "--json").json


# ---- a server that goes away


def write_outbox(place: Place, undisturbed: Place, _: dict[str, Any], expected: dict[str, Any]) -> None:
    """A run whose MLflow server dies in the middle: what it logs from then on waits in the home."""
    undisturbed.command("run", "away.yaml", "--local", "--json").json  # noqa: B018 - it must end well
    expected["away"] = undisturbed.history(undisturbed.run_id("away"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = start_server(place, port, address)
    run = None
    try:
        environment = {**place.environment, "MLFLOW_TRACKING_URI": address, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
        run = subprocess.Popen([COMMAND, "run", "away.yaml", "--local"], env=environment, cwd=place.work)
        while not list(place.home.glob(f"runs/away-*/checkpoint-{KILLED_AFTER_STEP:012d}")):
            if run.poll() is not None:
                sys.exit("the run ended before its server could be killed")
            time.sleep(0.002)
        os.killpg(server.pid, signal.SIGKILL)
        if run.wait(timeout=300) != 0:
            sys.exit("the run did not survive the outage")
    finally:
        for process, end in (
            (server, lambda: os.killpg(server.pid, signal.SIGKILL)),
            (run, lambda: run and run.kill()),
        ):
            if process is not None and process.poll() is None:
                end()
                process.wait()
    (queue,) = place.home.glob("outbox/*.jsonl")
    lines = [json.loads(line) for line in queue.read_text(encoding="utf-8").splitlines()]
    expected["waiting"] = {
        "run": queue.stem,
        "records": len(lines),
        "artifacts": sorted(line["record"]["name"] for line in lines if "artifact" in line["record"]),
    }
    (store,) = {line["store"] for line in lines}
    stored_home.replace_text(place.home / "outbox", store, stored_home.STORE)


def start_server(place: Place, port: int, address: str) -> "subprocess.Popen[bytes]":
    """MLflow's own server over the store of the home; artifacts lie where the store says, as always."""
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        env={**place.environment, "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{place.database}"},
        cwd=place.work,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{address}/health", timeout=1).close()  # noqa: S310 - http
            return server
        except OSError:
            time.sleep(0.2)
    sys.exit("MLflow's server does not come up")


# ---- figures


def golden_figures(place: Place) -> dict[str, Any]:
    """Hashes of all documents in experiments/, planned figures, and the quickstart's first weights."""
    print("golden_figures …", flush=True)  # noqa: T201
    hashes: dict[str, str] = {}
    sweeps: dict[str, Any] = {}
    for file in sorted((REPOSITORY / "experiments").rglob("*.yaml")):
        name = file.relative_to(REPOSITORY).as_posix()
        answer = json.loads(place.command("validate", file, "--no-files", "--json").out)[0]
        if "hash" in answer:
            hashes[name] = answer["hash"]
        elif answer["valid"]:
            sweeps[name] = stored_home.sweep_names(file)
    files = {name: REPOSITORY / f"experiments/ssv2/{name}.yaml" for name in TABLE_2}
    run = place.command("run", REPOSITORY / "experiments/quickstart.yaml", "--local", "--json", *QUICKSTART).json[
        "run_id"
    ]
    small, large = "experiments/quickstart-sweep.yaml", "experiments/ablations/table9-b-f.yaml"
    return {
        "processor": stored_home.processor(),
        "torch": metadata.version("torch"),
        "hashes": hashes,
        "sweeps": sweeps,
        "table 2": {name: place.command("plan", file, "--json").json for name, file in files.items()},
        "packs": {
            small: place.command("plan", REPOSITORY / small, "--json").json,
            large: place.command("plan", REPOSITORY / large, "--json", "--classes", 174).json,
        },
        "quickstart": {
            "changes": QUICKSTART,
            "weights_sha256": stored_home.tensors_sha256(place.artifact(run, "checkpoint/*/weights.safetensors")),
            "history": place.history(run),
        },
    }


# ---- what must not be stored


def clean(place: Place, expected: dict[str, Any]) -> None:
    """Take away what no later version reads, and what says where all of it was made."""
    shutil.rmtree(place.home / "logs", ignore_errors=True)
    shutil.rmtree(place.home / "locks", ignore_errors=True)
    for folder in (place.home / "runs").iterdir():
        if not folder.name.startswith(("long-", "sweep-killed-")):
            shutil.rmtree(folder)
    for file in [each for each in place.root.rglob("*") if each.is_file()]:
        if file.suffix in SHOWN_ONLY or file.name.endswith(".lock"):
            file.unlink()
    expected["feature files"] = {
        str(file.relative_to(place.home)): stored_home.sha256(file)
        for file in sorted((place.home / "features").rglob("*.safetensors"))
    }
    for key, value in (("host", "stored"), ("os", "Linux"), ("mlflow.user", "stored")):
        place.query("UPDATE tags SET value = ? WHERE key = ?", value, key)
    place.query("UPDATE runs SET user_id = 'stored'")
    stored_home.replace_text(place.root, str(place.root), stored_home.ROOT)


def refuse_traces(folder: Path, scratch: str) -> None:
    """No path of this machine, and neither its name nor a user's, is in any file."""
    traces = [scratch, str(REPOSITORY), str(Path.home()), str(Path(sys.prefix))]
    for file in (each for each in folder.rglob("*") if each.is_file()):
        content = file.read_bytes()
        found = [trace for trace in traces if trace.encode() in content]
        if found:
            sys.exit(f"{file.relative_to(folder)} holds {found}")


if __name__ == "__main__":
    main()
