"""`side4video submit`: the same as `run` and `sweep`, as a job of a Ray cluster."""

import json
import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from side4video.core.units import format_bytes, format_duration
from side4video.terminal.options import FiniteRange, as_json, example, job_api, overrides, spec_file

if TYPE_CHECKING:
    from side4video.apps.jobs.client import Job, JobCluster
    from side4video.apps.jobs.request import JobRequest

LIMIT_MEBIBYTES = 50.0


@click.command(
    short_help="Run an experiment or a sweep as a job of a Ray cluster.",
    epilog=example("submit quickstart --address http://head-node:8265 -- --go-on"),
)
@spec_file
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@overrides
@job_api
@click.option(
    "--env",
    "names",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Also pass this environment variable to the job. Repeatable.",
)
@click.option("--submission-id", default="", metavar="ID", help="Id of the job. Default: an id that Ray makes.")
@click.option("--wait/--no-wait", "waits", default=True, show_default=True, help="Follow the job until it ends.")
@click.option(
    "--dry-run", "is_dry", is_flag=True, help="Print the equivalent `ray job submit` command and send nothing."
)
@click.option(
    "--limit-mebibytes",
    type=FiniteRange(min=0),
    default=LIMIT_MEBIBYTES,
    show_default=True,
    help="Largest total size of the files that are sent with the job, in MiB.",
)
@as_json
def submit(
    *,
    spec: str,
    options: tuple[str, ...],
    overrides: tuple[str, ...],
    address: str,
    names: tuple[str, ...],
    submission_id: str,
    waits: bool,
    is_dry: bool,
    limit_mebibytes: float,
    as_json: bool,
) -> None:
    """Run the experiment or the sweep SPEC as a job of a Ray cluster.

    SPEC is a YAML file or the name of a preset. OPTIONS after `--` are passed to `run` or `sweep`. The spec is checked
    on this machine first. The job gets MLFLOW_TRACKING_URI and the environment variables that the spec names as
    ${NAME}. The exit code is the job's. Ctrl-C does not stop the job.
    """
    from side4video.apps.jobs.request import job_address, job_folder, read_request

    where = job_address(address)
    request = read_request(
        spec,
        overrides,
        options=options,
        variables_given=names,
        submission_id=submission_id,
        limit_mebibytes=limit_mebibytes,
    )
    _check_options(request.kind, request.files.document, options)
    if is_dry:
        _print_command(request, where, request.ray_command(where, job_folder(request)), as_json=as_json)
        return
    from side4video.apps.jobs.client import JobCluster

    cluster = JobCluster(where)
    _check_nodes(cluster, request)
    cluster.submit(request)
    called = f"side4video jobs {{}} {request.submission_id}" + (f" --address {shlex.quote(address)}" if address else "")
    count = len(request.files.sources)
    files = f"{count} file{'' if count == 1 else 's'} ({format_bytes(request.files.bytes)})"
    _print_note(f"Job {request.submission_id} is submitted: {request.kind} {request.name}, {files} sent along.")
    if not waits:
        _print_note(f"Follow it: {called.format('logs -f')}\nStop it:   {called.format('stop')}")
        _print_job(request, cluster.details(request.submission_id), where, as_json=as_json)
        return
    try:
        job = cluster.follow(request.submission_id, lambda text: click.echo(text, nl=False, err=as_json))
    except KeyboardInterrupt:
        _print_note(f"\nThe job goes on. Follow it: {called.format('logs -f')}\nStop it:   {called.format('stop')}")
        sys.exit(130)
    _print_note(end_message(job))
    _print_job(request, job, where, as_json=as_json)
    sys.exit(job.exit_code)


def end_message(job: "Job") -> str:
    """How a job ended, in a line."""
    took = f"after {format_duration(job.duration_s)}"
    if job.state == "FAILED":
        code = "" if job.driver_exit_code is None else f" with exit code {job.driver_exit_code}"
        reason = f": {job.message[:300]}" if job.message and job.driver_exit_code is None else ""
        return f"Job {job.submission_id} failed{code} {took}{reason}"
    words = {"SUCCEEDED": "succeeded", "STOPPED": "was stopped"}
    return f"Job {job.submission_id} {words.get(job.state, 'is ' + job.state.lower())} {took}."


def _check_options(kind: str, document: str, options: tuple[str, ...]) -> None:
    """Options that `run` or `sweep` would refuse on the cluster are refused here."""
    context = click.get_current_context()
    commands = context.find_root().command
    command = commands.get_command(context, kind) if isinstance(commands, click.Group) else None
    if command is not None:
        command.make_context(kind, [document, *options], parent=None, resilient_parsing=False)


def _check_nodes(cluster: "JobCluster", request: "JobRequest") -> None:
    from side4video.apps.jobs.nodes import check_shared_storage
    from side4video.core.errors import InputError, Side4VideoError

    try:
        nodes = cluster.nodes()
    except InputError:
        raise
    except Side4VideoError as error:
        _print_note(f"note: {error}; what only works on one node is not looked for")
        return
    notes = check_shared_storage(request.experiments, nodes, request.environment, is_sweep=request.kind == "sweep")
    for note in notes:
        _print_note(f"note: {note}")


def _print_command(request: "JobRequest", address: str, line: str, *, as_json: bool) -> None:
    from side4video.apps.jobs.request import as_json as job_as_json
    from side4video.apps.jobs.request import is_secret
    from side4video.tracking.redaction import HIDDEN

    if HIDDEN in line:
        _print_note(f"note: a secret is not shown; write it in place of {HIDDEN}")
    if secret := [name for name, value in request.environment.items() if is_secret(name, value)]:
        _print_note(f"note: the line reads {', '.join(secret)} from the environment of the shell that runs it")
    if as_json:
        click.echo(json.dumps({**job_as_json(request, address), "command": line}, indent=2))
    else:
        click.echo(line)


def _print_job(request: "JobRequest", job: "Job", address: str, *, as_json: bool) -> None:
    if as_json:
        from side4video.apps.jobs.request import as_json as job_as_json

        ended: dict[str, Any] = {"exit_code": job.exit_code, "seconds": job.duration_s} if job.is_over else {}
        click.echo(json.dumps({**job_as_json(request, address), "state": job.state, **ended}, indent=2))


def _print_note(text: str) -> None:
    click.echo(text, err=True)
