"""Clusters that Ray's launcher does not make: KubeRay's objects by their fields, Slurm's script by what it calls."""

import copy
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

CLUSTERS = Path(__file__).resolve().parents[2] / "clusters"
SCRIPT = CLUSTERS / "slurm.sh"

# ---- KubeRay: the fields of `ray.io/v1` that are used here

CLUSTER = {
    "rayVersion",
    "enableInTreeAutoscaling",
    "autoscalerOptions",
    "authOptions",
    "headGroupSpec",
    "workerGroupSpecs",
}
HEAD = {"rayStartParams", "template"}
GROUP = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
JOB = {
    "entrypoint",
    "runtimeEnvYAML",
    "shutdownAfterJobFinishes",
    "ttlSecondsAfterFinished",
    "submissionMode",
    "rayClusterSpec",
}


def objects(name):
    return {each["kind"]: each for each in yaml.safe_load_all((CLUSTERS / name).read_text())}


def mistakes(spec):
    """What a RayCluster's spec has that KubeRay does not know, or lacks."""
    found = [f"unknown {key}" for key in spec.keys() - CLUSTER]
    found += [f"head: {key}" for key in spec["headGroupSpec"].keys() ^ HEAD]
    for group in spec["workerGroupSpecs"]:
        name = group.get("groupName", "a group")
        found += [f"{name}: {key}" for key in group.keys() ^ GROUP]
        if not group.get("minReplicas", 0) <= group.get("replicas", 0) <= group.get("maxReplicas", 0):
            found.append(f"{name}: replicas")
    for each in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        params = each.get("rayStartParams") or {}
        found += [f"rayStartParams.{key} is no text" for key, value in params.items() if not isinstance(value, str)]
        pod = each["template"]["spec"]
        memory = [volume["name"] for volume in pod["volumes"] if volume.get("emptyDir", {}).get("medium") == "Memory"]
        for container in pod["containers"]:
            places = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            found += ["no memory at /dev/shm"] if places.get("/dev/shm") not in memory else []
            found += [f"mounts {name}, which is no volume" for name in places.values() if name not in _names(pod)]
    if spec.get("authOptions", {}).get("mode") != "token":
        found.append("no token")
    return found


def _names(pod):
    return {volume["name"] for volume in pod["volumes"]}


def cluster_specs():
    return {
        "kuberay-cluster.yaml": objects("kuberay-cluster.yaml")["RayCluster"]["spec"],
        "kuberay-job.yaml": objects("kuberay-job.yaml")["RayJob"]["spec"]["rayClusterSpec"],
    }


@pytest.mark.parametrize("name", ["kuberay-cluster.yaml", "kuberay-job.yaml"])
def test_kuberay_knows_every_field(name):
    assert mistakes(cluster_specs()[name]) == []
    assert all(each["apiVersion"] == "ray.io/v1" for kind, each in objects(name).items() if kind.startswith("Ray"))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda spec: spec.update(workerGroups=[]), "unknown workerGroups"),
        (lambda spec: spec["workerGroupSpecs"][0].pop("groupName"), "a group: groupName"),
        (lambda spec: spec["workerGroupSpecs"][0].update(replicas=9), "decoding: replicas"),
        (
            lambda spec: spec["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),
            "rayStartParams.num-cpus is no text",
        ),
        (lambda spec: spec["headGroupSpec"]["template"]["spec"]["volumes"].pop(), "no memory at /dev/shm"),
        (lambda spec: spec.pop("authOptions"), "no token"),
    ],
)
def test_a_broken_cluster_is_noticed(change, found):
    spec = copy.deepcopy(cluster_specs()["kuberay-cluster.yaml"])
    spec = json.loads(json.dumps(spec))  # each part its own, where the file repeats one
    change(spec)
    assert found in mistakes(spec)


def test_a_decoding_group_has_the_resource():
    groups = {group["groupName"]: group for group in cluster_specs()["kuberay-cluster.yaml"]["workerGroupSpecs"]}
    # The operator puts it on a shell's command line, so it is quoted twice.
    assert json.loads(json.loads(groups["decoding"]["rayStartParams"]["resources"])) == {"decoding": 1}
    assert "nvidia.com/gpu" in groups["gpu"]["template"]["spec"]["containers"][0]["resources"]["limits"]


def test_the_mlflow_server_is_where_nodes_look_for_it():
    found = objects("kuberay-cluster.yaml")
    service, deployment = found["Service"], found["Deployment"]
    name, port = service["metadata"]["name"], service["spec"]["ports"][0]["port"]
    address = f"http://{name}:{port}"
    head = found["RayCluster"]["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert {"name": "MLFLOW_TRACKING_URI", "value": address} in head["env"]
    pod = deployment["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    server = pod["spec"]["containers"][0]
    assert str(port) in server["command"]
    assert name in server["args"]
    job = objects("kuberay-job.yaml")["RayJob"]["spec"]
    assert job.keys() <= JOB
    assert yaml.safe_load(job["runtimeEnvYAML"])["env_vars"] == {"MLFLOW_TRACKING_URI": address}


def test_the_server_is_called_as_it_wants_to_be():
    from click.testing import CliRunner

    from side4video.apps.mlflow_ui.services import services

    server = objects("kuberay-cluster.yaml")["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    words = [*server["command"], *server["args"]]
    assert words[:2] == ["side4video", "services"]
    assert services.make_context("services", words[2:]).params["allowed_hosts"] == ("side4video-mlflow",)
    assert CliRunner().invoke(services, ["--what"]).exit_code == 2


def test_the_job_runs_what_the_command_takes():
    from side4video.cli.run import run

    words = objects("kuberay-job.yaml")["RayJob"]["spec"]["entrypoint"].split()
    assert words[:2] == ["side4video", "run"]
    context = run.make_context("run", words[2:])
    assert "cluster.workers=2" in context.params["overrides"]


# ---- Slurm

STUBS = {
    "scontrol": "echo node-a; echo node-b; echo node-c",
    # As Ray does, it counts the nodes that have started.
    "python": 'sleep 0.1; grep -c "ray start" "$CALLS"',
    "side4video": """
echo "side4video $* RAY_ADDRESS=$RAY_ADDRESS RAY_AUTH_MODE=$RAY_AUTH_MODE" >> "$CALLS"
[ -z "${LONG:-}" ] || {
  trap 'echo saved >> "$CALLS"; exit 143' TERM
  kill -TERM "$PPID"
  while :; do sleep 0.1; done
}
exit ${CODE:-0}""",
    "srun": """
while [ "${1#-}" != "$1" ]; do case $1 in -w) node=$2; shift 2;; *) shift;; esac; done
if [ "$1" = hostname ]; then echo 10.0.0.7 10.1.0.7; exit; fi
echo "$node $*" >> "$CALLS"
exec sleep 60 > /dev/null 2>&1""",
}


def slurm(tmp_path, *words, **variables):
    """Run the script with stand-ins for Slurm, Ray and the command; what they were called with."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in STUBS.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (folder / name).chmod(0o755)
    calls = tmp_path / "calls"
    calls.touch()
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "CALLS": str(calls),
        "SLURM_JOB_ID": "123456",
        "SLURM_JOB_NODELIST": "node-[a-c]",
        "SLURM_CPUS_PER_TASK": "8",
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "MLFLOW_TRACKING_URI": "http://login:5000",
        **variables,
    }
    done = subprocess.run(
        ["bash", SCRIPT, *words],
        env={name: value for name, value in environment.items() if value},
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    return done, calls.read_text().splitlines()


def test_the_script_is_one():
    assert subprocess.run(["bash", "-n", SCRIPT], capture_output=True, timeout=20).returncode == 0
    assert os.access(SCRIPT, os.X_OK)
    broken = SCRIPT.read_text().replace("\ndone\n", "\n", 1)
    assert subprocess.run(["bash", "-n"], input=broken.encode(), capture_output=True, timeout=20).returncode


def test_all_nodes_and_the_command_meet_at_one_port(tmp_path):
    done, calls = slurm(tmp_path, "run", "spec file.yaml", "--set", "cluster.workers=3")
    assert done.returncode == 0, done.stderr
    head, *workers = sorted(call for call in calls if "ray start" in call)
    assert head.startswith("node-a ray start --head")
    assert [worker.split()[0] for worker in workers] == ["node-b", "node-c"]
    port = re.search(r" --port=(\d+)", head)[1]
    others = [re.search(rf" --{name}=(\d+)", head)[1] for name in ("dashboard-port", "ray-client-server-port")]
    assert len({port, *others}) == 3
    assert all(f"--address=10.0.0.7:{port} " in worker for worker in workers)
    (command,) = [call for call in calls if call.startswith("side4video")]
    assert command == (
        f"side4video run spec file.yaml --set cluster.workers=3 --address 10.0.0.7:{port} "
        f"RAY_ADDRESS=10.0.0.7:{port} RAY_AUTH_MODE=token"
    )
    assert "--dashboard-host=127.0.0.1" in head


def test_jobs_have_ports_of_their_own(tmp_path):
    ports = set()
    for job in ("7", "8", "999999"):
        (tmp_path / job).mkdir()
        _, calls = slurm(tmp_path / job, "run", "a.yaml", SLURM_JOB_ID=job)
        found = [int(each) for each in re.findall(r"port=(\d+)", " ".join(calls))]
        assert all(1024 < each < 65536 for each in found)
        ports |= set(found)
    assert len(ports) == 9


def test_the_exit_code_is_the_commands(tmp_path):
    done, _ = slurm(tmp_path, "run", "a.yaml", CODE="2")
    assert done.returncode == 2


def test_the_signal_before_the_end_of_the_time_reaches_the_run(tmp_path):
    done, calls = slurm(tmp_path, "run", "a.yaml", LONG="1")
    assert done.returncode == 143
    assert calls[-1] == "saved"


@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [((), {}, "say what to run"), (("run", "a"), {"MLFLOW_TRACKING_URI": ""}, "a server that all nodes reach")],
)
def test_what_is_missing_is_said_before_anything_starts(tmp_path, words, variables, said):
    done, calls = slurm(tmp_path, *words, **variables)
    assert done.returncode
    assert said in done.stderr
    assert calls == []
