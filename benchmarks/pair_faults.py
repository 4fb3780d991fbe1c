"""What is wrong after two commands at once: how they ended, and models, exported and packed folders that they left."""

import json
import re
import socket
from pathlib import Path
from typing import Any

import home_record
from forked_command import Ended

HELD = re.compile(r"process (\d+) on \S+ works on it since")
TOO_EARLY_OR_LATE = re.compile(
    r"it is there already|the folder is not empty"
    r"|no unfinished run of|no run has this name or id|it is not finished \("
)
"""What a command says whose run or folder is not yet there, or is there already."""


def slim(runs: dict[str, Any]) -> dict[str, Any]:
    """Runs without what a copied result has other."""
    return {key: [(run["status"], run["state"]) for run in each] for key, each in runs.items()}


def faults_of_call(call: Ended, other: Ended) -> list[str]:
    """What is wrong with how a command ended."""
    faults = ["it hung"] if call.hung else []
    faults += ["it left processes"] if call.left_processes else []
    if call.has_traceback:
        faults.append(f"traceback: {call.output.strip().splitlines()[-1][:300]}")
    if call.code not in (0, 2):
        faults.append(f"exit code {call.code}")
    if call.code == 2:
        held = HELD.search(call.sentence)
        if held and int(held[1]) != other.pid:
            faults.append(f"it names process {held[1]}, which is not the other one")
        if not held and not TOO_EARLY_OR_LATE.search(call.sentence):
            faults.append(f"it does not say who works: {call.sentence[:300]}")
    return faults


def same_for_all(sentence: str, folder: Path) -> str:
    """A sentence without what differs from call to call and from machine to machine."""
    text = HELD.sub("process PID on HOST works on it since", sentence.replace(str(folder), "FOLDER"))
    text = re.sub(r"\bsince (\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d( \w+)?", "since TIME", text)
    return re.sub(r"\b(run|evaluate) [0-9a-f]{8}\b", r"\1 ID", text).replace(socket.gethostname(), "HOST")


def outcome(ended: list[Ended]) -> str:
    """What happened, in a few words."""
    losers = [each for each in ended if each.code]
    if not losers:
        return "both end well"
    if any(HELD.search(each.sentence) for each in losers):
        return "one works, the other names it"
    return (
        "one works, the other says what is missing or there already" if len(losers) == 1 else "both say what is missing"
    )


def faults_of_models(found: dict[str, Any], registered: int) -> list[str]:
    """Versions that are missing, doubled or not whole; so many were registered."""
    versions = [["shared", number, "READY"] for number in range(1, registered + 1)]
    faults = home_record.differences(versions, found["versions"], "versions")
    if len(found["states"]) != registered or len(set(found["states"])) > 1:
        faults.append(f"logged models: {found['states']}")
    if len({json.dumps(files) for files in found["files"]}) > 1 or [] in found["files"]:
        faults.append("logged models have other files")
    return faults


def faults_of_export(folder: Path, home: Path) -> list[str]:
    """An exported folder whose checksums, or whose weights, are not right."""
    from side4video.core.errors import Side4VideoError
    from side4video.spec.bundle import read_bundle

    try:
        bundle, _ = read_bundle(folder)
    except Side4VideoError as error:
        return [f"export: {error}"]
    sums = home_record.files_of(folder)
    run = home / "artifacts" / str(bundle.origin["run"])
    stored = {home_record.checksum_of(file)["sha256"] for file in run.rglob("*.safetensors")}
    return [] if stored & set(sums.values()) else ["export: the weights are not those of its run"]


def faults_of_pack(folder: Path) -> list[str]:
    """Shards that are not what was written."""
    from side4video.apps.data_pack.pack import verify
    from side4video.core.progress import SILENT
    from side4video.data.manifest import read_manifest

    return [f"pack: {each}" for each in verify(folder, read_manifest(str(folder)), SILENT)]
