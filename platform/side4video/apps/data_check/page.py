"""A page of what a check found: counts, problems, charts, and a contact sheet of the clips that were decoded.

The page is one file: pictures and charts are inside, there is no script and no address of another machine.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from side4video.apps.data_check.charts import STYLE, count_chart, histogram_chart, value_text
from side4video.apps.data_check.findings import KINDS
from side4video.apps.data_check.report import Counts, DataReport
from side4video.core.text import printable
from side4video.core.units import format_bytes
from side4video.data.clip import SPLITS

NAMED = 200
"""Problems of a kind that are named; the others are counted."""
SHOWN = 60
"""Clips on the contact sheet, at most."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --soft: #5c5c5c; --line: #ddd; --paper: #fff; --band: #f4f6f8;
  --train: #0072b2; --test: #e69f00; --bad: #b3261e; --good: #1b7f4b; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --soft: #a8a8a8; --line: #3a3d42; --paper: #17191c; --band: #202327;
    --train: #56b4e9; --test: #f0b840; --bad: #ff8a80; --good: #6fd39b; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1240px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin-top: 2.2rem; }
p, figcaption, summary { color: var(--soft); font-size: 0.9rem; overflow-wrap: anywhere; }
.good { color: var(--good); font-weight: 600; } .bad { color: var(--bad); font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.7rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
td.path { overflow-wrap: anywhere; }
.number { text-align: right; }
.key { display: inline-block; width: 0.7em; height: 0.7em; border-radius: 2px; margin: 0 0.3em 0 0.8em; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); gap: 1rem; }
figure { margin: 0; }
figcaption { font-size: 0.8rem; }
img { display: block; max-width: 100%; height: auto; border-radius: 4px; }
""".strip()
_TITLES = {
    "captions": "Captions per video",
    "frames": "Length in frames",
    "seconds": "Length in seconds",
    "bytes": "Size of files",
}


@dataclass(frozen=True)
class Picture:
    """A clip on the contact sheet."""

    title: str
    """Its path."""
    caption: str
    """Class or first caption, length, pixels."""
    jpeg: bytes


def report_page(report: DataReport, pictures: Sequence[Picture]) -> str:
    """The page."""
    title = _text(f"Data of {report.name}")
    verdict = "<span class='good'>clean</span>" if report.is_clean else f"<span class='bad'>{verdict_of(report)}</span>"
    fingerprint = f"<code>{report.fingerprint}</code>" if report.fingerprint else "none: the data set would stop a run"
    parts = [
        f"<h1>{title}</h1>\n<p>{_text(report.dataset)} · {verdict}</p>\n<p>fingerprint: {fingerprint}</p>\n",
        *(f"<p>{_text(note)}</p>\n" for note in report.notes),
        f"<div class='wide'>{_counts(report)}</div>\n",
        *(_problems(report, kind) for kind in KINDS),
        _charts(report),
        _sheet(pictures),
    ]
    return (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        "<meta http-equiv='Content-Security-Policy' "
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        f"<title>{title}</title>\n<style>\n{_STYLE}\n{STYLE}\n</style>\n</head>\n<body>\n<main>\n{''.join(parts)}"
        "</main>\n</body>\n</html>\n"
    )


def verdict_of(report: DataReport) -> str:
    """`clean`, or how many problems there are of each kind."""
    counts = {kind: len(report.of_kind(kind)) for kind in KINDS}
    return ", ".join(f"{count} {kind_text(kind)}" for kind, count in counts.items() if count) or "clean"


def kind_text(kind: str) -> str:
    """A kind of problem in words."""
    return kind.replace("_", " ")


def count_rows(report: DataReport) -> list[tuple[str, list[str]]]:
    """The rows of the table of counts, a cell a split."""
    rows = [
        ("records", [f"{report.splits[split].records:,}" for split in SPLITS]),
        ("files", [f"{report.splits[split].files:,}" for split in SPLITS]),
        ("size", [format_bytes(report.splits[split].bytes) for split in SPLITS]),
    ]
    kinds = [kind for kind in KINDS if kind != "refused" and (kind != "without_caption" or report.of_kind(kind))]
    return rows + [(kind_text(kind), [f"{len(report.of_kind(kind, split)):,}" for split in SPLITS]) for kind in kinds]


def _counts(report: DataReport) -> str:
    head = "".join(f"<th class='number'>{split}</th>" for split in SPLITS)
    body = "".join(
        f"<tr><td>{name}</td>{''.join(f'''<td class='number'>{cell}</td>''' for cell in cells)}</tr>\n"
        for name, cells in count_rows(report)
    )
    return f"<table>\n<thead><tr><th></th>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n"


def _problems(report: DataReport, kind: str) -> str:
    found = report.of_kind(kind)
    if not found:
        return ""
    rows = "".join(
        f"<tr><td>{each.split}</td><td class='path'>{_text(each.path)}</td><td class='path'>{_text(each.origin)}</td>"
        f"<td>{_text(each.reason)}</td></tr>\n"
        for each in found[:NAMED]
    )
    more = f"<p>and {len(found) - NAMED:,} more</p>\n" if len(found) > NAMED else ""
    return (
        f"<h2>{len(found):,} {kind_text(kind)}</h2>\n<p>{KINDS[kind]}</p>\n<div class='wide'><table>\n<thead><tr>"
        f"<th>split</th><th>path</th><th>listed in</th><th>why</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>"
        f"</div>\n{more}"
    )


def _charts(report: DataReport) -> str:
    keys = "".join(f"<span class='key' style='background:var(--{split})'></span>{split}" for split in SPLITS)
    parts = [f"<h2>How they are spread</h2>\n<p>{keys}</p>\n"]
    if report.classes:
        totals = [sum(counts.values()) for counts in report.classes.values()]
        span = f"{len(totals)} classes with {min(totals):,} to {max(totals):,} records"
        parts.append(_figure(count_chart(report.classes, "Records of each class"), f"Classes: {span}"))
    for key, histogram in report.histograms.items():
        told = [value_text(value, histogram.unit) for value in (histogram.least, histogram.median, histogram.most)]
        span = f"{_TITLES[key]}: least {told[0]}, median {told[1]}, most {told[2]}"
        parts.append(_figure(histogram_chart(histogram, _TITLES[key]), span))
    if report.sizes:
        common = ", ".join(f"{size} ({sum(counts.values()):,})" for size, counts in list(report.sizes.items())[:6])
        told = f"Width x height of the decoded clips: {common}"
        parts.append(_figure(count_chart(report.sizes, "Width x height"), told))
    return "".join(parts) + (_class_table(report.classes) if report.classes else "")


def _figure(chart: str, caption: str) -> str:
    return f"<figure>\n<figcaption>{_text(caption)}</figcaption>\n{chart}</figure>\n"


def _class_table(classes: Counts) -> str:
    rows = "".join(
        f"<tr><td>{_text(name)}</td>"
        + "".join(f"<td class='number'>{counts[split]:,}</td>" for split in SPLITS)
        + "</tr>\n"
        for name, counts in classes.items()
    )
    head = "".join(f"<th class='number'>{split}</th>" for split in SPLITS)
    return (
        f"<details><summary>Records of each class</summary>\n<table>\n<thead><tr><th>class</th>{head}</tr></thead>\n"
        f"<tbody>\n{rows}</tbody>\n</table></details>\n"
    )


def _sheet(pictures: Sequence[Picture]) -> str:
    if not pictures:
        return ""
    figures = "".join(
        f"<figure><img alt='{escape(printable(each.title), quote=True)}' "
        f"src='data:image/jpeg;base64,{base64.b64encode(each.jpeg).decode()}'>"
        f"<figcaption>{_text(each.title)}<br>{_text(each.caption)}</figcaption></figure>\n"
        for each in pictures
    )
    return (
        f"<h2>Contact sheet</h2>\n<p>{len(pictures)} of the decoded clips: begin, middle and end.</p>\n"
        f"<div class='sheet'>\n{figures}</div>\n"
    )


def _text(text: str) -> str:
    return escape(printable(text))
