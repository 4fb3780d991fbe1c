"""Requests to a sweep that runs: add an arm, stop an arm. They are stored with the sweep's run.

The pass reads them between two epochs, wherever it runs, and once: what it has taken is part of its record.
"""

import json
import time
from collections.abc import Mapping
from typing import Any

import yaml

from side4video.arm_search.records import LEFT, ArmRecord, arm_as_json, title_of
from side4video.core.errors import InputError
from side4video.planning.packs import streams_of
from side4video.runs.endless_pass import records_of, store_requests
from side4video.runs.pass_logger import read_seats
from side4video.spec.arm import Arm, Sweep, describe_overrides
from side4video.tracking.run_store import RunStore
from side4video.tracking.tags import REQUEST_TAG


def parse_overrides(text: str) -> dict[str, Any]:
    """The changes of an arm, as in `method.dim: 96, seed: 1`.

    Raises:
        InputError: It is no mapping.
    """
    try:
        found = yaml.safe_load(text if text.lstrip().startswith("{") else f"{{{text}}}")
    except yaml.YAMLError:
        found = None
    if not isinstance(found, dict) or not found or any(value is None for value in found.values()):
        raise InputError(
            "--arm", f"{text!r}", allowed="fields and values, as in a sweep's file", fix="--arm 'method.dim: 96'"
        )
    return {str(path): value for path, value in found.items()}


def check_has_seats(sweep: Sweep, name: str) -> None:
    """Check that arms may come and go.

    Raises:
        InputError: The sweep trains packs that stay as they are.
    """
    if not sweep.spec.has_seats:
        raise InputError(
            name,
            "the sweep has no seats: its packs begin and end with the arms that they were made of",
            allowed="sweeps with `packing: {seats: 8}`, say",
            fix="add the arm to its file and run the same command again; finished arms are not trained again",
        )


def add_arm(store: RunStore, parent: str, sweep: Sweep, overrides: Mapping[str, Any], *, label: str) -> list[Arm]:
    """Ask a sweep to train one more arm; returns its rows, one for each seed.

    Raises:
        InputError: The arm is no experiment, is there already, or cannot share the pass.
    """
    rows = sweep.added(label, overrides)
    titles = {record.short_key: (title_of(record), record.state) for record in records_of(store, parent)}
    for row in rows:
        if row.short_key in titles:
            title, state = titles[row.short_key]
            raise InputError("--arm", f"the sweep has this arm already: {title} ({state})", fix="change a field of it")
    base = sweep.arms[0] if sweep.arms else sweep.propose(0, {})[0]
    apart = [row for row in rows if len(streams_of([base, row])) > 1]
    if apart:
        raise InputError(
            "--arm",
            f"{describe_overrides(overrides)}: it needs clips, batches or a backbone that the pass does not have",
            allowed="changes of the method, the seed, and the optimizer without batch size and length",
            fix="run a sweep of its own",
        )
    if any(dict(overrides) == each.get("add", {}).get("overrides") for each in open_requests(store, parent)):
        raise InputError(
            "--arm", f"{describe_overrides(overrides)} is asked for already", fix="wait for the next epoch"
        )
    _ask(store, parent, {"add": {"label": label or describe_overrides(overrides), "overrides": dict(overrides)}})
    return list(rows)


def stop_arm(store: RunStore, parent: str, sweep: Sweep, title: str) -> str:
    """Ask a sweep to stop an arm; returns its title.

    Raises:
        InputError: There is no such arm, several, or it has ended.
    """
    records = records_of(store, parent)
    known = {record.short_key for record in records}
    # A pass that has just begun may not have written down yet who waits.
    records += [ArmRecord(arm.short_key, arm_as_json(arm)) for arm in sweep.arms if arm.short_key not in known]
    found = [record for record in records if title in (title_of(record), record.name, record.arm["label"])]
    found = found or [record for record in records if title and title_of(record).startswith(title)]
    going = [title_of(record) for record in records if record.state not in LEFT]
    if len(found) != 1:
        raise InputError(
            "--arm",
            f"{title!r} is {'no arm' if not found else f'{len(found)} arms'} of the sweep",
            allowed=" · ".join(going) or "arms that have not ended, and all have",
            fix="`side4video sweeps status` shows the labels; the beginning of one is enough",
        )
    if found[0].state in LEFT:
        allowed = " · ".join(going) or "arms that have not ended, and all have"
        raise InputError("--arm", f"{title_of(found[0])} has ended: {found[0].state}", allowed=allowed)
    _ask(store, parent, {"stop": found[0].name})
    return title_of(found[0])


def open_requests(store: RunStore, parent: str) -> list[Mapping[str, Any]]:
    """Requests that no pass has taken yet."""
    taken = {each for state in read_seats(store, parent).values() for each in state["taken"]}
    return [each for each in store_requests(store, parent)() if each["id"] not in taken]


def _ask(store: RunStore, parent: str, request: Mapping[str, Any]) -> None:
    store.set_tags(parent, {f"{REQUEST_TAG}{time.time_ns():020d}": json.dumps(request)})


def epoch_seconds(state: Mapping[str, Any]) -> float:
    """Mean seconds of the pass's last epochs, evaluation included; 0 if it is not known yet."""
    times = state["times"]
    epochs = times[-1]["epoch"] - times[0]["epoch"] if times else 0.0
    return (times[-1]["at"] - times[0]["at"]) / epochs if epochs else 0.0
