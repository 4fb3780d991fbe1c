"""`side4video validate`: check specs and the files that they name."""

import json
import sys
from typing import Any

import click

from side4video.core.errors import InputError
from side4video.terminal.options import as_json, example, overrides
from side4video.terminal.output import print_text
from side4video.terminal.spec_completion import complete_spec


@click.command(
    short_help="Check YAML files of experiments and sweeps.",
    epilog=example("validate my-clips.yaml --set seed=1"),
)
@click.argument("files", nargs=-1, required=True, type=click.Path(), shell_complete=complete_spec)
@overrides
@as_json
@click.option(
    "--files/--no-files",
    "looks_at_files",
    default=True,
    help="Also check annotation files, weights, the decoder, and for two seconds which videos are there.",
)
def validate(files: tuple[str, ...], overrides: tuple[str, ...], as_json: bool, looks_at_files: bool) -> None:
    """Check YAML files of experiments and sweeps. The exit code is 2 if a file is wrong.

    Each of FILES is a YAML file or the name of a preset.
    """
    answers = []
    for file in files:
        try:
            answer, line = _check(file, overrides, looks_at_files=looks_at_files)
            answers.append(answer)
        except InputError as error:
            answers.append({"file": file, "valid": False, "errors": str(error).splitlines()})
            line = "\n".join(f"error: {problem}" for problem in str(error).splitlines())
        if not as_json:
            for each in line.split("\n"):
                print_text(each, err=not answers[-1]["valid"])
    if as_json:
        click.echo(json.dumps(answers, indent=2))
    if not all(answer["valid"] for answer in answers):
        sys.exit(InputError.exit_code)


def _check(file: str, overrides: tuple[str, ...], *, looks_at_files: bool) -> tuple[dict[str, Any], str]:
    """Check one file, an experiment or a sweep with all its arms."""
    from side4video.spec.check_folders import check_folders
    from side4video.spec.check_tags import check_tags
    from side4video.spec.check_videos import check_experiments
    from side4video.spec.load import is_sweep, load_experiment

    if is_sweep(file):
        from side4video.spec.arm import load_sweep

        sweep = load_sweep(file, overrides)
        check_tags(sweep.base_experiment.tracking)
        if looks_at_files:
            sweep.spec.check_installed()
            check_folders(sweep.base_experiment.tracking)
        looked = check_experiments(sweep.named_experiments) if looks_at_files else ""
        arms = len(sweep.arms)
        rows = len(sweep.rows)
        line = f"{file}: valid · a sweep of {rows} rows, {arms} distinct arms" if rows else f"{file}: valid · a search"
        answer = {"file": file, "valid": True, "name": sweep.spec.name, "arms": rows, "distinct_arms": arms}
        return answer | {"looked_at": looked}, line + (looked and f" · {looked}")
    spec = load_experiment(file, overrides)
    check_tags(spec.tracking)
    if looks_at_files:
        check_folders(spec.tracking)
    looked = check_experiments([("", spec)]) if looks_at_files else ""
    line = f"{file}: valid · {spec.method.kind} on {spec.backbone.kind} · hash {spec.digest()[:12]}"
    answer = {"file": file, "valid": True, "name": spec.name, "hash": spec.digest(), "looked_at": looked}
    return answer, line + (looked and f" · {looked}")
