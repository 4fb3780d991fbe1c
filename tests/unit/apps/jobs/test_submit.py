"""`submit` and `jobs` from outside, with a stand-in for the cluster: exit codes, one-line refusals, JSON alone."""

import json
import shlex
import subprocess
import sys
from typing import ClassVar

import pytest
import yaml
from click.testing import CliRunner

from side4video.apps.jobs import client as cluster_jobs
from side4video.apps.jobs.client import Job
from side4video.apps.jobs.nodes import Node
from side4video.cli.main import cli
from side4video.core.errors import InputError, Side4VideoError
from tiny import DOCUMENT, merged

HEAD, WORKER = Node("10.0.0.1", True, {"CPU": 8.0}), Node("10.0.0.2", False, {"CPU": 8.0})


class Cluster:
    """Stands for the cluster: takes one job, says what it is told to, and ends as it is told to."""

    nodes_there = (HEAD,)
    state, code = "SUCCEEDED", 0
    interrupted = False
    sent: ClassVar[list] = []
    address = ""

    def __init__(self, address):
        type(self).address = address

    def nodes(self):
        if not self.nodes_there:
            raise Side4VideoError("the cluster does not say which nodes it has")
        return list(self.nodes_there)

    def submit(self, request):
        self.sent.append(request)

    def follow(self, name, show):
        show("training\n")
        if self.interrupted:
            raise KeyboardInterrupt
        return self.details(name)

    def details(self, name):
        state = self.state
        return Job(name, state, "tiny", "run", "d", "side4video run a.yaml", "it said why", 1.0, 81.0, self.code)

    def jobs(self):
        return [self.details("tiny-1"), self.details("tiny-[hidden]")]

    def find(self, name):
        if name != "tiny-1":
            raise InputError("job", f"no jobs are called {name}")
        return self.details(name)

    def logs(self, _):
        return "training\n"

    def stop(self, name):
        return Job(**{**self.details(name).__dict__, "state": "STOPPED"})


@pytest.fixture(autouse=True)
def cluster(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(DOCUMENT))
    kind = type("OneCluster", (Cluster,), {"sent": []})
    monkeypatch.setattr(cluster_jobs, "JobCluster", kind)
    return kind


def call(*words, command="submit"):
    return CliRunner().invoke(cli, [command, *words])


def test_a_job_is_sent_and_followed(cluster):
    result = call("a.yaml", "--address", "http://head:8265/", "--set", "seed=3", "--", "--resume")
    assert result.exit_code == 0, result.stderr
    assert cluster.address == "http://head:8265"
    (request,) = cluster.sent
    assert request.words == ("side4video", "run", "a.yaml", "--set", "seed=3", "--resume")
    assert result.stdout == "training\n"
    first, last = result.stderr.strip().splitlines()
    assert first.startswith(f"Job {request.submission_id} is submitted: run tiny, 1 file (")
    assert last == f"Job {request.submission_id} succeeded after 1 min 20 s."


@pytest.mark.parametrize(("state", "code", "exit_code"), [("FAILED", 2, 2), ("FAILED", None, 1), ("STOPPED", None, 1)])
def test_the_exit_code_is_the_jobs(cluster, state, code, exit_code):
    cluster.state, cluster.code = state, code
    result = call("a.yaml")
    assert result.exit_code == exit_code
    assert ("it said why" in result.stderr) == (state == "FAILED" and code is None)


def test_ctrl_c_leaves_it_running_and_says_how_to_go_on(cluster):
    cluster.interrupted = True
    result = call("a.yaml", "--address", "http://head:8265", "--submission-id", "mine")
    assert result.exit_code == 130
    assert "The job goes on. Follow it: side4video jobs logs -f mine --address http://head:8265\n" in result.stderr
    assert "Stop it:   side4video jobs stop mine --address http://head:8265\n" in result.stderr


def test_without_waiting(cluster):
    cluster.state = "PENDING"
    result = call("a.yaml", "--no-wait", "--json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert answer["state"] == "PENDING"
    assert "exit_code" not in answer
    assert f"side4video jobs logs -f {answer['submission_id']}\n" in result.stderr


def test_json_is_alone_on_stdout(cluster):
    cluster.state, cluster.code = "FAILED", 1
    result = call("a.yaml", "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert (answer["state"], answer["exit_code"], answer["name"], answer["kind"]) == ("FAILED", 1, "tiny", "run")
    assert answer["files"].keys() == {"a.yaml"}
    assert "training" in result.stderr


def test_a_dry_run_asks_nobody_and_prints_one_line(cluster, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnopqrstuvwxyz")
    result = call("a.yaml", "--dry-run", "--env", "HF_TOKEN")
    assert result.exit_code == 0
    assert cluster.sent == []
    assert cluster.address == ""
    (line,) = result.stdout.splitlines()
    assert line.startswith("ray job submit --address http://127.0.0.1:8265 --working-dir ")
    assert line.endswith(" -- side4video run a.yaml")
    assert "hf_abc" not in result.output
    assert "reads HF_TOKEN from the environment" in result.stderr
    answer = json.loads(call("a.yaml", "--dry-run", "--json").stdout)
    assert shlex.split(answer["command"])[:3] == ["ray", "job", "submit"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["b.yaml"], "b.yaml: no such file · allowed: a YAML file, or a preset · fix: did you mean a.yaml?"),
        (["a.yaml", "--set", "method.widht=3"], "method.widht: unknown key 'widht'"),
        (["a.yaml", "--address", "head:8265"], "--address: head:8265 is not the address of a job API"),
        (["a.yaml", "--limit-mebibytes", "0"], "the job's files: "),
        (["a.yaml", "--env", "NO_SUCH_VARIABLE"], "--env NO_SUCH_VARIABLE: "),
    ],
)
def test_what_is_wrong_here_is_not_sent(cluster, words, said):
    result = call(*words)
    assert isinstance(result.exception, InputError)
    assert said in str(result.exception)
    assert cluster.sent == []


@pytest.mark.parametrize("options", [["--what"], ["more.yaml"], ["--set"]])
def test_options_that_the_command_would_refuse(cluster, options):
    result = call("a.yaml", "--", *options)
    assert result.exit_code == 2
    assert cluster.sent == []


def test_several_nodes_need_shared_places(cluster):
    cluster.nodes_there = (HEAD, WORKER)
    result = call("a.yaml")
    assert isinstance(result.exception, InputError)
    assert cluster.sent == []
    words = ["--set", "cluster.storage=/shared/runs", "--env", "MLFLOW_TRACKING_URI=http://10.0.0.1:5000"]
    result = call("a.yaml", *words)
    assert result.exit_code == 0
    assert "note: /shared/runs is taken to be the same folder on all nodes\n" in result.stderr


def test_a_cluster_that_does_not_say_its_nodes_is_believed(cluster):
    cluster.nodes_there = ()
    result = call("a.yaml")
    assert result.exit_code == 0
    assert "note: the cluster does not say which nodes it has" in result.stderr


def test_a_sweep_is_sent_as_one(cluster, tmp_path):
    sweep = {"name": "few", "base": merged(DOCUMENT, {}), "grid": {"method.layers": [1, 2]}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(sweep))
    assert call("s.yaml", "--", "--rerun").exit_code == 0
    assert cluster.sent[0].words == ("side4video", "sweep", "s.yaml", "--rerun")
    assert call("s.yaml", "--", "--resume").exit_code == 2


def test_from_outside_it_is_one_line_and_exit_code_2(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "side4video", "submit", "a.yaml", "--address", "http://127.0.0.1:9"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert "does not answer" in done.stderr


def test_a_dry_run_loads_no_ray(tmp_path):
    code = (
        "import sys; from click.testing import CliRunner; from side4video.apps.jobs.submit import submit\n"
        "result = CliRunner().invoke(submit, ['a.yaml', '--dry-run'], catch_exceptions=False)\n"
        "print(result.exit_code, [name for name in ('mlflow', 'ray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.stdout.strip() == "0 []", done.stderr


# ---- jobs


def test_the_list_is_a_table_and_json():
    result = call("list", command="jobs")
    assert result.exit_code == 0
    head, first, second = result.stdout.splitlines()
    assert head.split() == ["id", "name", "state", "age", "command"]
    assert first.split()[:3] == ["tiny-1", "tiny", "SUCCEEDED"]
    assert second.startswith("tiny-[hidden]")
    listed = json.loads(call("list", "--json", command="jobs").stdout)
    assert [(each["submission_id"], each["exit_code"]) for each in listed] == [("tiny-1", 0), ("tiny-[hidden]", 0)]


def test_no_jobs(cluster, monkeypatch):
    monkeypatch.setattr(cluster, "jobs", lambda _: [])
    assert call("list", command="jobs").stdout == "No job has been submitted to this cluster.\n"
    assert json.loads(call("list", "--json", command="jobs").stdout) == []


def test_logs(cluster):
    assert call("logs", "tiny-1", command="jobs").stdout == "training\n"
    cluster.state, cluster.code = "FAILED", 2
    result = call("logs", "-f", "tiny-1", command="jobs")
    assert (result.exit_code, result.stdout) == (2, "training\n")
    assert json.loads(call("logs", "tiny-1", "--json", command="jobs").stdout)["log"] == "training\n"
    assert isinstance(call("logs", "other", command="jobs").exception, InputError)


def test_stop(cluster):
    result = call("stop", "tiny-1", command="jobs")
    assert result.stdout == "Job tiny-1 has already ended: SUCCEEDED.\n"
    cluster.state = "RUNNING"
    result = call("stop", "tiny-1", command="jobs")
    assert (result.exit_code, result.stdout) == (0, "Job tiny-1 was stopped after 1 min 20 s.\n")
    assert json.loads(call("stop", "tiny-1", "--json", command="jobs").stdout)["state"] == "STOPPED"


def test_one_that_does_not_stop_is_said(cluster, monkeypatch):
    cluster.state = "RUNNING"
    monkeypatch.setattr(cluster, "stop", lambda self, name: self.details(name))
    result = call("stop", "tiny-1", command="jobs")
    assert result.exit_code == 1
    assert "has not ended yet" in result.stderr
