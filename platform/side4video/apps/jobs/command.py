"""`side4video jobs`: what a Ray cluster was given to do; listed, followed, stopped."""

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from side4video.apps.jobs.submit import end_message
from side4video.core.units import format_duration
from side4video.terminal.options import as_json, example, job_api

if TYPE_CHECKING:
    from side4video.apps.jobs.client import Job, JobCluster

job_name = click.argument("job")


@click.group(short_help="List, follow and stop the jobs of a Ray cluster.")
def jobs() -> None:
    """List, follow and stop the jobs of a Ray cluster.

    JOB is a submission id, or the start of one.
    """


@jobs.command("list", epilog=example("jobs list --address http://head-node:8265"))
@job_api
@as_json
def list_jobs(address: str, as_json: bool) -> None:
    """List the submitted jobs, the newest first."""
    found = _connect(address).jobs()
    if as_json:
        click.echo(json.dumps([_as_json(job) for job in found], indent=2))
        return
    if not found:
        click.echo("No job has been submitted to this cluster.")
        return
    from side4video.terminal.options import table_console
    from side4video.terminal.tables import fitted

    columns = {
        "id": [job.submission_id for job in found],
        "name": [job.name or "-" for job in found],
        "state": [job.state for job in found],
        "age": [format_duration(job.age_s) for job in found],
        "command": [job.entrypoint for job in found],
    }
    table_console().print(fitted(columns, texts=columns))


@jobs.command("logs", epilog=example("jobs logs raysubmit_7a --follow"))
@job_name
@job_api
@click.option(
    "-f", "--follow", "follows", is_flag=True, help="Follow the log until the job ends. The exit code is the job's."
)
@as_json
def logs(*, job: str, address: str, follows: bool, as_json: bool) -> None:
    """Print the log of JOB. Ctrl-C does not stop the job."""
    cluster = _connect(address)
    found = cluster.find(job)
    if not follows:
        text = cluster.logs(found.submission_id)
        click.echo(json.dumps({**_as_json(found), "log": text}, indent=2) if as_json else text, nl=as_json)
        return
    try:
        ended = cluster.follow(found.submission_id, lambda text: click.echo(text, nl=False, err=as_json))
    except KeyboardInterrupt:
        click.echo(f"\nThe job continues: {found.submission_id}", err=True)
        sys.exit(130)
    click.echo(end_message(ended), err=True)
    if as_json:
        click.echo(json.dumps(_as_json(ended), indent=2))
    sys.exit(ended.exit_code)


@jobs.command("stop", short_help="Stop a job; its last checkpoint is kept.", epilog=example("jobs stop raysubmit_7a"))
@job_name
@job_api
@as_json
def stop(job: str, address: str, as_json: bool) -> None:
    """Stop JOB. The last checkpoint of its run is kept.

    Continue with `side4video submit SPEC -- --go-on`. A job that has ended does not change.
    """
    cluster = _connect(address)
    found = cluster.find(job)
    ended = found if found.is_over else cluster.stop(found.submission_id)
    if as_json:
        click.echo(json.dumps(_as_json(ended), indent=2))
    else:
        click.echo(
            f"Job {ended.submission_id} has already ended: {ended.state}." if found.is_over else end_message(ended)
        )
    if not ended.is_over:
        click.echo("error: it has not ended yet; ask again with: side4video jobs list", err=True)
        sys.exit(1)


def _connect(address: str) -> "JobCluster":
    from side4video.apps.jobs.request import job_address

    where = job_address(address)
    from side4video.apps.jobs.client import JobCluster

    return JobCluster(where)


def _as_json(job: "Job") -> dict[str, Any]:
    return {
        "submission_id": job.submission_id,
        "name": job.name,
        "kind": job.kind,
        "digest": job.digest,
        "state": job.state,
        "age_seconds": job.age_s,
        "seconds": job.duration_s,
        "exit_code": job.exit_code if job.is_over else None,
        "entrypoint": job.entrypoint,
        "message": job.message,
    }
