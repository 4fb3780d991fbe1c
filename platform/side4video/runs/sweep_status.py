"""Where an endless pass is: its seats, its queue, its rate, and what is left."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from side4video.arm_search.records import ArmRecord, title_of
from side4video.runs.sweep_requests import epoch_seconds
from side4video.tracking.run_store import StoredRun


def pass_status(state: Mapping[str, Any], runs: Mapping[str, StoredRun], *, metric: str) -> dict[str, Any]:
    """The status of a pass as JSON values.

    Args:
        state: Of the pass, from the sweep's `seats.json`.
        runs: The arms' runs, by the name of the student.
        metric: The sweep's metric, for the heading only: the record has its values.

    Returns:
        `number_of_seats`, `epochs` of an arm, `epoch` of the pass, `seats` (who sits there), `waiting`, `to_propose`
        (arms that Optuna will choose), `counts` by state,
        `others` (seats of other sweeps on a shared pass, by name), `clips_per_s`, `epochs_left`, `seconds_left`, and
        `one_more_arm`: the share by which a step grows.
    """
    records = [ArmRecord.from_json(each) for each in state["records"]]
    seated = sorted((each for each in records if each.seat is not None), key=lambda each: each.seat or 0)
    seconds = epoch_seconds(state)
    there = [runs[each.short_key].metrics for each in seated if each.short_key in runs]
    own = [metrics.get("time/own_step_s") for metrics in there]
    steps = [metrics.get("time/step_s") for metrics in there]
    known = [(mine, whole) for mine, whole in zip(own, steps, strict=True) if mine and whole]
    return {
        "metric": metric,
        "number_of_seats": state["seats"],
        "epochs": state["epochs"],
        "epoch": state["times"][-1]["epoch"],
        "seats": [
            {
                "seat": each.seat,
                "arm": title_of(each),
                "name": each.name,
                "epochs": each.epochs,
                "value": each.by_epoch.get(max(each.by_epoch, default=0)),
                "since": each.stays[-1].first,
            }
            for each in seated
        ],
        "waiting": [title_of(each) for each in records if each.state == "waiting"],
        "to_propose": state["to_propose"],
        "counts": dict(Counter(each.state for each in records)),
        "refused": state["refused"],
        "clips_per_s": state["clips_per_epoch"] / seconds if seconds else 0.0,
        "epochs_left": state["epochs_left"],
        "seconds_left": state["epochs_left"] * seconds,
        "others": state.get("others", {}),
        "one_more_arm": sum(mine / whole for mine, whole in known) / len(known) if known else 0.0,
    }
