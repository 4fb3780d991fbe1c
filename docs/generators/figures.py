"""Tables and sentences of measured and planned figures, made from benchmarks/results. No figure is typed in by hand."""

import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from generators import search_tables, system_table, tower_tables

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"

_TABLE_2 = {
    ("2, ViT-B/16", "AIM"): "**ViT-B/16** AIM",
    ("2, ViT-B/16", "ST-Adapter 12"): "ST-Adapter, one per block",
    ("2, ViT-B/16", "EVL"): "EVL",
    ("2, ViT-B/16", "DiST"): "DiST, 8 + 16 frames",
    ("2, ViT-B/16", "plain reference 12 x 320"): "Side4Video 12 x 320 with library modules",
    ("2, ViT-B/16", "Side4Video 12 x 320"): "**Side4Video 12 x 320, here**",
    ("2, ViT-B/16", "Side4Video 6 x 192"): "**Side4Video 6 x 192, here**",
    ("2, ViT-L/14", "AIM"): "**ViT-L/14** AIM",
    ("2, ViT-L/14", "ST-Adapter"): "ST-Adapter",
    ("2, ViT-L/14", "EVL"): "EVL",
    ("2, ViT-L/14", "DiST"): "DiST",
    ("2, ViT-L/14", "Side4Video 24 x 512"): "**Side4Video 24 x 512, here**",
    ("2, ViT-L/14", "Side4Video 12 x 320"): "**Side4Video 12 x 320, here**",
    ("E/14", "Side4Video 32 x 576"): "**EVA-CLIP E/14** Side4Video 32 x 576",
    ("E/14", "the same, tower in 8 bits"): "the same, tower in 8 bits",
}
"""Rows of the table of memory, in its order, by table and name of the stored row."""


def named(name: str) -> str:
    """A table or a text by its name.

    Raises:
        KeyError: There is none of this name.
    """
    return FIGURES[name]()


def record(name: str) -> dict[str, Any]:
    """A stored result."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def bullets(*texts: str) -> str:
    """A Markdown list, in lines of at most 120 characters."""
    wrap = partial(textwrap.fill, width=120, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(wrap(text) for text in texts)


def claims() -> str:
    """What the README claims, each with its figure and the command behind it."""
    packs, memory = record("sweep-cpu"), record("memory-cpu")
    nine, light = packs["groups"]
    rows = {(row["table"], row["name"]): row for row in memory["rows"]}
    ours, plain = rows["2, ViT-B/16", "Side4Video 12 x 320"], rows["2, ViT-B/16", "plain reference 12 x 320"]
    return bullets(
        "**One backbone pass for all arms of a sweep.** An *arm* is one variant of an experiment. The backbone runs "
        "once per batch, and all arms train on its output. Each arm ends with the weights that it would have alone, "
        f"bit by bit. Measured on {packs['threads']} CPU cores: {nine['distinct_arms']} arms of the paper's Table 9 "
        "trained "
        f"{nine['measured']['speedup']:.1f} times as fast as one by one. {light['distinct_arms']} small arms trained "
        f"{light['measured']['speedup']:.1f} times as fast (`{packs['command'].split(' --')[0]}`).",
        "**Memory is known before a run.** `side4video plan` needs no GPU, no weights and no videos. Its count of the "
        f"bytes kept for backward was compared with real, small steps of {len(differences(memory))} configurations on "
        f"a CPU. The two differ by at most {max(differences(memory)):,} bytes (`{memory['command']}`).",
        "**The paper's mathematics at a fraction of the paper's memory.** The paper reports "
        f"{ours['paper_gb']:g} GB for the 12 x 320 side network on ViT-B/16 with {ours['clips']} clips. The plan is "
        f"{ours['planned_peak_gib']:.1f} GiB here, and {plain['planned_peak_gib']:.1f} GiB with library modules (the "
        "same command). These are plans, not measurements on a GPU.",
    )


def differences(memory: Mapping[str, Any]) -> list[int]:
    """Planned minus counted bytes for backward, without the sign, of each row that has both."""
    rows = [row for row in memory["rows"] if "small_held_bytes" in row]
    return [abs(row["small_planned_held_bytes"] - row["small_held_bytes"]) for row in rows]


def memory_table() -> str:
    """The paper's Table 2, planned."""
    rows = {(row["table"], row["name"]): row for row in record("memory-cpu")["rows"]}
    cells = []
    for key, label in _TABLE_2.items():
        row = rows[key]
        trained = f"{row['trainable_parameters']:,}" if "trainable_parameters" in row else ""
        held = f"{row['planned_held_gib']:.1f} GiB" if "planned_held_gib" in row else ""
        paper = f"{row['paper_gb']:g} GB" if row.get("paper_gb") else "not given"
        cells.append([label, str(row["clips"]), trained, held, f"{row['planned_peak_gib']:.1f} GiB", paper])
    heads = ["method", "clips", "trained parameters", "held for backward, planned", "peak, planned", "paper, measured"]
    return table(heads, cells)


def packs_table() -> str:
    """Measured and planned speed-ups of packs."""
    cells = []
    for group in record("sweep-cpu")["groups"]:
        measured, planned = group["measured"], group["predicted"]
        against = [("the same arms one by one", "speedup")]
        if group["rows"] != group["distinct_arms"]:
            against.append((f"its {group['rows']} rows one by one", "speedup_of_rows"))
        for words, key in against:
            cells.append(
                [
                    f"{group['name']}: {group['distinct_arms']} arms",
                    words,
                    f"{measured[key]:.2f}",
                    f"{planned[key]:.2f}",
                ]
            )
    return table(["pack", "compared with", "speed-up, measured", "speed-up, planned"], cells)


def packs_memory() -> str:
    """Memory of a pack beside its largest arm."""
    group = record("sweep-cpu")["groups"][0]
    planned, measured = group["planned_memory"], group["measured_memory"]["whole_step"]
    cells = [[f"{name}, planned", *_pack_cells(planned[name])] for name in ("32 clips, bf16", "1 clip, fp32")]
    cells.append(["1 clip, fp32, measured", *_pack_cells(measured)])
    heads = ["batch", "pack of nine arms", "largest arm alone", "ratio", "ratio without optimizer state"]
    return table(heads, cells)


def _pack_cells(row: Mapping[str, Any]) -> list[str]:
    sizes = [f"{row[key]['all']:.2f} GiB" for key in ("pack_gib", "largest_alone_gib")]
    return [*sizes, f"{row['ratio']:.2f}", f"{row['ratio_optimizer_apart']:.2f}"]


def sweep_service() -> str:
    """What sweeps cost and survive, beyond their steps."""
    overhead, asha, kills, arms = (record(f"sweep-{name}") for name in ("overhead", "asha", "kills", "arms"))
    starts = overhead["start"]["of_services_s"]
    same = "the same" if asha["same_best"] else "another"
    ended = "was equal to" if kills["table_equals_the_undisturbed_one"] else "differed from"
    memory = arms["medians_by_quarter"]["mebibytes"]
    return bullets(
        f"**Cost of Ray and MLflow.** They took {overhead['of_services_s']:.0f} s of a sweep of "
        f"{overhead['wall_s'] / 60:.1f} minutes ({100 * overhead['of_services_fraction']:.1f}%). Of these, "
        f"{min(starts):.0f} to {max(starts):.0f} s passed before the first step. With planning and imports the share "
        f"is {100 * overhead['overhead_fraction']:.1f}% (`{overhead['command']}`).",
        f"**ASHA.** On {asha['arms']} arms in one pack, it found {same} best arm as training all of them, with "
        f"{100 * asha['share_of_steps']:.0f}% of the steps (`python benchmarks/sweep_service.py asha`).",
        f"**Kills.** A sweep was killed (SIGKILL) {len(kills['kills'])} times, and started again with the same "
        f"command. Its final table {ended} the table of an undisturbed sweep (`{kills['command']}`).",
        f"**Leaks.** A sweep of {arms['arms']} very small arms left {arms['processes_left']} processes behind. The "
        f"memory of its driver grew from {memory[0]:.0f} to {memory[-1]:.0f} MiB (`{arms['command']}`).",
    )


def speed() -> str:
    """Steps on a CPU beside the plain reference."""
    measured = record("speed-cpu")
    cells = []
    for row in measured["rows"]:
        ratios = [f"{row['step_over_plain_step'][f'side, {how}']:.2f}" for how in ("none", "selective", "block")]
        cells.append([row["name"], *ratios, f"{row['efficiency']['side, none']:.2f}"])
    heads = ["side network", "`recompute: none`", "`selective`", "`block`", "rate of the side network"]
    return table(heads, cells) + f"\n\nMeasured by `{measured['command']}`."


def eight_bit() -> str:
    """Errors of rounding to 8 bits."""
    measured = record("eight-bit")
    cells = [
        [name, *(f"{100 * row[key]:.2f}%" for key in ("tokens", "features", "gradients"))]
        for name, row in measured["rows"].items()
    ]
    heads = ["tower and tokens", "error of tokens", "error of features", "error of gradients"]
    return table(heads, cells) + f"\n\nMeasured by `{measured['command']}`, against the fp32 tower."


def ablations() -> str:
    """The settings of Table 9 on the built-in clips."""
    return _study("ablations-table-9", "arm")


def methods() -> str:
    """Other methods on the built-in clips."""
    return _study("ablations-methods", "method")


def follow_ups() -> str:
    """Networks that came after the paper, on the built-in clips."""
    return _study("ablations-follow-ups", "arm")


def transfer() -> str:
    """Base and novel classes, and another data set."""
    study = record("zero-shot")
    heads = list(next(iter(study["rows"].values())))
    cells = [[arm, *(_spread(row[name]) for name in heads)] for arm, row in study["rows"].items()]
    chance = ", ".join(f"{name} {100 * value:.1f}%" for name, value in study["chance"].items())
    said = f"{_sentence(study['what'])} By chance: {chance}. `{study['command']}`"
    return f"{table(['arm', *heads], cells)}\n\n{said}"


def _study(name: str, head: str) -> str:
    study = record(name)
    cells = [[label, f"{row['trainable_parameters']:,}", _spread(row)] for label, row in study["rows"].items()]
    return table([head, "trained parameters", "top-1"], cells) + f"\n\n{_sentence(study['what'])} `{study['command']}`"


def real_clips() -> str:
    """Two tasks on surveillance clips."""
    cells = []
    for name, label in (("fight", "fight or no fight"), ("direction", "played forwards or backwards")):
        study = record(f"real-clips-{name}")
        results = study["results"]
        seeds = str(len(results["linear"]["values"]))
        cells.append(
            [label, seeds, f"{study['test_clips']:.0f}", _spread(results["side4video"]), _spread(results["linear"])]
        )
    commands = " and ".join(f"`{record(f'real-clips-{name}')['command']}`" for name in ("fight", "direction"))
    heads = ["task", "seeds", "test samples", "side network, top-1", "linear probe, top-1"]
    return f"{table(heads, cells)}\n\nMeasured by {commands}."


def decoding() -> str:
    """Reading videos before and after frames came from the decoder."""
    study = record("decoding")

    def cell(row: Mapping[str, Any], when: str) -> str:
        return "refused" if row[when] is None else f"{row[when]:.0f}"

    cells = [
        [kind, *(cell(row[version], when) for when in ("first", "again") for version in ("before", "after"))]
        for kind, row in study["results"].items()
    ]
    heads = ["video", "first read, before", "now", "read again, before", "now"]
    return f"{table(heads, cells)}\n\n{_sentence(study['what'])} `{study['command']}`"


def refused_files() -> str:
    """Files that would cost gigabytes."""
    study = record("refused-files")
    cells = [[row["file"], f"{row['seconds']:.2f}", f"{row['mib']:.0f}"] for row in study["rows"]]
    return f"{table(['file', 's', 'MiB'], cells)}\n\n{_sentence(study['what'])} `{study['command']}`"


def kills() -> str:
    """Runs that were stopped at random moments."""
    study = record("kills")
    cells = []
    for on_ray in (False, True):
        cases = [case for case in study["cases"] if case["on_ray"] == on_ray]
        signals = [each["signal"] for case in cases for each in case["signals"]]
        counts = (signals.count("SIGTERM"), signals.count("SIGKILL"), len(cases))
        found = (sum(bool(case["differs"]) for case in cases), sum(bool(case["left"]) for case in cases))
        cells.append(["on Ray" if on_ray else "`--local`", *map(str, (*counts, *found))])
    heads = ["run", "SIGTERM", "SIGKILL", "runs", "differ in the end", "leave something behind"]
    return f"{table(heads, cells)}\n\n`{study['command']}`"


def full_disk() -> str:
    """Commands on disks of many sizes."""
    cells = []
    for study in record("full-disk")["studies"]:
        found = study["summary"]
        too_small = found["sizes"] - found["fit"]
        counts = (found["sizes"], too_small, found["one_sentence"], found["damaged"], found["goes_on"])
        cells.append([f"`{study['command']}`", *map(str, counts)])
    heads = ["command", "sizes", "too small", "one sentence", "torn files", "same command goes on"]
    study = record("full-disk")
    return f"{table(heads, cells)}\n\n{_sentence(study['what'])} `{study['command']}`"


def two_at_once() -> str:
    """Pairs of commands at once, those that share more than the home."""
    study = record("two-at-once")
    names = ["one works, the other names it", "one works, the other says what is missing or there already"]
    names.append("both end well")
    cells = []
    for pair in study["pairs"]:
        if pair["shares"] != "home":
            counts = [pair["outcomes"].get(name, 0) for name in names]
            cells.append([f"`{pair['pair']}`", pair["shares"], *map(str, (pair["cases"], *counts, pair["faults"]))])
    heads = ["at once", "one", "times", "one works, the other names it", "the other says what is missing or there"]
    heads += ["both end well", "faults"]
    others = [pair for pair in study["pairs"] if pair["shares"] == "home"]
    rest = f"{len(others)} further pairs share only the home: {sum(pair['faults'] for pair in others)} faults."
    return f"{table(heads, cells)}\n\n{rest} {_sentence(study['what'])} `{study['command']}`"


def start() -> str:
    """CPU seconds of commands that only start, those of an older revision beside them where it has them."""
    study = record("start")
    now, before = study["now"]["cpu_s"], study.get("before", {}).get("cpu_s", {})
    heads = ["command", "CPU time", *([f"at `{study['before']['revision']}`"] if before else [])]
    cells = [
        [
            f"`{name}`" if "--help" in name else name,
            *(f"{each[name]['median']:.2f} s" for each in (now, before) if each),
        ]
        for name in now
    ]
    return f"{table(heads, cells)}\n\nThe median of {study['times']} calls of each, in turns: `{study['command']}`"


def _spread(row: Mapping[str, Any]) -> str:
    return f"{100 * row['mean']:.1f} ± {100 * row['deviation']:.1f}%"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}:"


FIGURES: Mapping[str, Callable[[], str]] = {
    "claims": claims,
    "memory": memory_table,
    "packs": packs_table,
    "packs-memory": packs_memory,
    "sweep-service": sweep_service,
    "speed": speed,
    "eight-bit": eight_bit,
    "ablations": ablations,
    "methods": methods,
    "follow-ups": follow_ups,
    "transfer": transfer,
    "real-clips": real_clips,
    "decoding": decoding,
    "refused-files": refused_files,
    "kills": kills,
    "full-disk": full_disk,
    "two-at-once": two_at_once,
    "start": start,
    **search_tables.TABLES,
    **system_table.TABLES,
    **tower_tables.TABLES,
}
