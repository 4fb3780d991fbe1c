"""What searches with seats cost and give, from benchmarks/results."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
_WAYS = {"seats": "8 seats", "batches": "packs of 8", "alone": "one by one"}


def searches() -> str:
    """The same search in three ways, over its seeds."""
    study = _record("continuous-search")
    lines = ["| way | seeds | steps of the pass | steps of arms | time of one core | best arm | mean of the best |"]
    lines.append("|---|---|---|---|---|---|---|")
    seeds = {way: {part["seed"] for part in study["parts"] if part["way"] == way} for way in _WAYS}
    common = set.intersection(*seeds.values())  # ways are compared on the seeds that all of them had
    for way, name in _WAYS.items():
        parts = [part for part in study["parts"] if part["way"] == way and part["seed"] in common]
        best = ", ".join(f"{100 * part['best']:.1f}" for part in sorted(parts, key=lambda each: each["seed"]))
        cells = [
            name,
            str(len(parts)),
            f"{fmean(part['pass_steps'] for part in parts):,.0f}",
            f"{fmean(part['student_steps'] for part in parts):,.0f}",
            f"{fmean(part['cpu_s'] for part in parts) / 60:.1f} min",
            f"{best}%",
            f"{100 * fmean(part['best'] for part in parts):.1f}%",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    with_seats = [part for part in study["parts"] if part["way"] == "seats"]
    use = fmean(part["use_of_seats_until_queue_empty"] for part in with_seats)
    checked = [part for part in with_seats if "checked" in part]
    sentences = [
        f"{study['arms']} arms by Optuna with ASHA (rungs at 1 and 3 of {study['epochs']} epochs) on `motion`, a small "
        f"random ViT. Until the queue was empty, {100 * use:.0f}% of the seats were taken."
    ]
    if checked:
        equal, count = sum(part["equal"] for part in checked), sum(part["checked"] for part in checked)
        sentences.append(
            f"Of the arms that joined later, {count} were drawn at random and trained alone with their "
            f"`data.first_epoch`: {equal} had the same weights and metrics, bit for bit."
        )
    sentences.append("`python benchmarks/continuous_search.py --check 20`")
    return "\n".join(lines) + "\n\n" + " ".join(sentences)


def light_arms() -> str:
    """A search of many light arms at true shapes."""
    study = _record("light-arms")
    warm, wall = study["speed_up_warm_s"], study["speed_up_wall_s"]
    return (
        f"**Light arms.** {study['arms']} arms of 3 to 6 layers, 64 to 192 wide, on true ViT-B/16 shapes and two "
        f"cores, {study['steps']} steps each: with {study['seats']} seats the steps after the first one were "
        f"{warm:.1f} times as fast as one by one; the formula says {study['formula']:.1f}. With the first steps, and "
        "with building, trying and evaluating each arm, which so few steps do not outweigh, the search was "
        f"{wall:.1f} times as fast (`python benchmarks/light_arms.py`)."
    )


def first_epoch() -> str:
    """How much the order of clips moves a result."""
    study = _record("first-epoch")
    orders, seeds = 100 * study["deviation_over_orders"], 100 * study["deviation_over_seeds"]
    return (
        "**Order of clips.** An arm that joins later sees the clips in another order. With the seed fixed, other "
        f"orders moved top-1 by {orders:.1f} points (standard deviation). Other seeds, with the order fixed, moved it "
        f"by {seeds:.1f} (`{study['command']}`)."
    )


def search_kills() -> str:
    """Searches that were stopped at random moments."""
    study = _record("search-kills")
    counts, on_ray = study["by_signal"], sum(case["on_ray"] for case in study["cases"])
    return (
        f"**Kills.** Searches of eight arms were stopped {study['signals']} times at random moments: "
        f"{counts['SIGTERM']} SIGTERM, {counts['SIGKILL']} SIGKILL, {on_ray} of {len(study['cases'])} searches on Ray. "
        f"{study['cases_that_differ']} ended otherwise than the undisturbed one (`{study['command']}`)."
    )


def notes() -> str:
    """The sentences whose records are there, as a list, and what is still to be measured."""
    texts, missing = [], []
    for name, write in {"light-arms": light_arms, "first-epoch": first_epoch, "search-kills": search_kills}.items():
        if (RESULTS / f"{name}.json").is_file():
            texts.append(f"- {write()}")
        else:
            missing.append(f"`python benchmarks/{name.replace('-', '_')}.py`")
    return "\n".join([*texts, f"- Not measured yet: {', '.join(missing)}."] if missing else texts)


def _record(name: str) -> Mapping[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


TABLES: Mapping[str, Callable[[], str]] = {"searches": searches, "search-notes": notes}
