"""`side4video doctor`: whether this machine has what training needs."""

import sys
from typing import TYPE_CHECKING

import click

from side4video.terminal.heartbeat import still_working
from side4video.terminal.options import as_json, example
from side4video.terminal.output import print_json, print_text

if TYPE_CHECKING:
    from side4video.apps.doctor.report import Check

_WORDS = {"ok": "ok", "note": "note", "failed": "FAILED"}


@click.command(
    short_help="Check this machine: packages, GPU, decoders, disks, store.",
    epilog=example("doctor", "doctor --json"),
)
@as_json
def doctor(as_json: bool) -> None:
    """Check whether this machine has what training needs, and say what to do if it has not.

    Each line is a check, printed as soon as it is done. A note is worth knowing, and training works without it.
    Nothing is installed, and no store is created. With --json, the answers are one document for a bug report,
    without secrets, home folders and user names. The exit code is 1 if a check failed.
    """
    from side4video.apps.doctor.report import CHECKS, bug_report, is_healthy, run_checks

    width = max(map(len, CHECKS))

    def show(check: "Check") -> None:
        fix = f" · fix: {check.finding.fix}" if check.finding.fix else ""
        print_text(f"{check.name:{width}}  {_WORDS[check.finding.status]:6}  {check.finding.text}{fix}")

    with still_working("doctor: checking this machine"):
        checks = run_checks(on_check=None if as_json else show)
    if as_json:
        print_json(bug_report(checks))
    if not is_healthy(checks):
        sys.exit(1)
