"""A job before it is sent: what it takes along, what it is told, and the line that does the same by hand."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from side4video.apps.jobs.request import job_address, job_folder, read_request
from side4video.core.errors import InputError
from side4video.runs.sweep import sweep_key
from side4video.spec import presets
from side4video.spec.arm import load_sweep
from side4video.spec.load import load_experiment
from side4video.spec.presets import preset_file
from tiny import DOCUMENT, merged

SECRET = "hf_abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder to send from, and an environment that says nothing of clusters."""
    monkeypatch.chdir(tmp_path)
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(file, document):
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text(yaml.safe_dump(document))
    return file


def listed(**dataset):
    """An experiment over a list of clips."""
    return merged(DOCUMENT, {"data": {"dataset": {"kind": "list", "annotations": "list.csv", **dataset}}})


def sweep(base):
    return {"name": "few", "base": base, "grid": {"method.layers": [1, 2]}}


# ---- presets


def test_a_preset_is_sent_as_its_file():
    request = read_request("ssv1/vitb16", variables_given=["SSV1=/videos"])
    assert request.words == ("side4video", "run", "documents/vitb16.yaml")
    assert request.digest == load_experiment("ssv1/vitb16").digest()
    (sent,) = request.files.sources.values()
    assert sent == preset_file("ssv1/vitb16")


def test_a_preset_of_a_sweep_is_sent_with_its_base(tmp_path, monkeypatch):
    request = read_request("ablations/motion-asha")
    assert set(request.files.sources) == {"documents/motion-asha.yaml", "documents/motion.yaml"}
    assert _digest_in_the_job(request, tmp_path / "job", monkeypatch) == request.digest


def test_a_preset_as_base_is_sent_where_its_name_finds_it(tmp_path, monkeypatch):
    request = read_request(write("sweeps/b.yaml", sweep("ablations/motion")))
    assert set(request.files.sources) == {"sweeps/b.yaml", "sweeps/ablations/motion"}
    assert request.files.sources["sweeps/ablations/motion"] == preset_file("ablations/motion")
    monkeypatch.setattr(presets, "preset_names", tuple)  # the cluster's own presets may be of another version
    monkeypatch.setattr(presets, "is_preset", lambda name: False)
    assert _digest_in_the_job(request, tmp_path / "job", monkeypatch) == request.digest


def test_a_job_without_the_base_would_need_the_clusters_own(tmp_path, monkeypatch):
    """The broken twin: the sweep alone is sent."""
    request = read_request(write("sweeps/b.yaml", sweep("ablations/motion")))
    monkeypatch.setattr(presets, "preset_names", tuple)
    monkeypatch.setattr(presets, "is_preset", lambda name: False)
    request.files.copy_into(tmp_path / "job")
    (tmp_path / "job/sweeps/ablations/motion").unlink()
    with pytest.raises(InputError, match="no such file"):
        load_sweep(tmp_path / "job/sweeps/b.yaml")


def _digest_in_the_job(request, folder, monkeypatch):
    request.files.copy_into(folder)
    monkeypatch.chdir(folder)
    return sweep_key(load_sweep(request.files.document))


# ---- what it is


def test_a_run_is_named_by_its_document():
    request = read_request(write("specs/a.yaml", DOCUMENT), ["seed=3"], options=["--resume"])
    assert request.words == ("side4video", "run", "specs/a.yaml", "--set", "seed=3", "--resume")
    digest = load_experiment("specs/a.yaml", ["seed=3"]).digest()
    assert request.metadata == {"name": "tiny", "kind": "run", "digest": digest}
    assert request.submission_id.startswith(f"tiny-{digest[:8]}-")
    assert request.submission_id != read_request("specs/a.yaml", ["seed=3"]).submission_id


def test_a_sweep_is_named_by_its_arms():
    write("specs/base/a.yaml", DOCUMENT)
    request = read_request(write("specs/sweeps/b.yaml", sweep("../base/a.yaml")))
    assert request.words == ("side4video", "sweep", "specs/sweeps/b.yaml")
    assert request.metadata == {
        "name": "few",
        "kind": "sweep",
        "digest": sweep_key(load_sweep("specs/sweeps/b.yaml")),
    }
    assert len(request.experiments) == 2


def test_the_entry_is_one_shell_line(tmp_path):
    request = read_request(write("a b.yaml", DOCUMENT), ["tracking.run_name=it's"])
    assert shlex.split(request.entrypoint) == list(request.words)


@pytest.mark.parametrize("name", ["a b", "../x", "-x", "x" * 200, "a/b"])
def test_an_id_is_a_plain_name(name):
    with pytest.raises(InputError, match=r"^--submission-id: "):
        read_request(write("a.yaml", DOCUMENT), submission_id=name)


# ---- what it takes along


def test_a_sweep_takes_its_base_and_nothing_else():
    write("specs/base/a.yaml", DOCUMENT)
    write("specs/base/other.yaml", DOCUMENT)
    write("specs/sweeps/b.yaml", sweep("../base/a.yaml"))
    files = read_request("specs/sweeps/b.yaml").files
    assert set(files.sources) == {"specs/sweeps/b.yaml", "specs/base/a.yaml"}
    files.copy_into(Path("job"))
    assert load_sweep("job/specs/sweeps/b.yaml").arms == load_sweep("specs/sweeps/b.yaml").arms


def test_documents_from_elsewhere_keep_their_places_to_each_other(tmp_path, monkeypatch):
    write("specs/base/a.yaml", DOCUMENT)
    write("specs/sweeps/b.yaml", sweep("../base/a.yaml"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    request = read_request("../specs/sweeps/b.yaml")
    assert set(request.files.sources) == {"documents/sweeps/b.yaml", "documents/base/a.yaml"}
    assert request.words[2] == "documents/sweeps/b.yaml"
    request.files.copy_into(tmp_path / "job")
    assert load_sweep(tmp_path / "job" / request.words[2]).arms


def test_a_base_by_its_absolute_path_is_refused(tmp_path):
    base = write(str(tmp_path / "base" / "a.yaml"), DOCUMENT)
    with pytest.raises(InputError, match=r"b\.yaml: base: .* · fix: write base: base/a\.yaml$"):
        read_request(write("b.yaml", sweep(base)))


def test_a_relative_list_comes_along_where_it_is_named():
    write("lists/train.csv", "")
    request = read_request(write("specs/a.yaml", listed(annotations="lists/train.csv", root="/clips")))
    assert set(request.files.sources) == {"specs/a.yaml", "lists/train.csv"}
    assert request.files.sizes["lists/train.csv"] == Path("lists/train.csv").stat().st_size


@pytest.mark.parametrize(
    ("dataset", "where"),
    [
        ({"annotations": "list.csv"}, r"data\.dataset\.root: empty"),
        ({"annotations": "list.csv", "root": "clips"}, r"data\.dataset\.root: clips is relative"),
        ({"annotations": "no.csv", "root": "/clips"}, r"data\.dataset\.annotations: no\.csv is relative"),
        ({"annotations": "../list.csv", "root": "/clips"}, r"data\.dataset\.annotations: "),
        (
            {"annotations": "list.csv", "root": "/clips", "split_by": {"kind": "file", "test_annotations": "no.csv"}},
            r"data\.dataset\.split_by\.test_annotations: ",
        ),
    ],
)
def test_what_means_nothing_on_another_machine_is_refused(tmp_path, monkeypatch, dataset, where):
    (tmp_path / "inner" / "clips").mkdir(parents=True)
    write("list.csv", "")
    monkeypatch.chdir(tmp_path / "inner")
    write("list.csv", "")
    with pytest.raises(InputError, match=where):
        read_request(write("a.yaml", listed(**dataset)))


@pytest.mark.parametrize("root", ["/clips", "s3://bucket/clips", "${MY_CLIPS}/k400", "~/clips"])
def test_what_a_cluster_can_find_is_allowed(root, monkeypatch):
    monkeypatch.setenv("MY_CLIPS", "/shared")
    write("list.csv", "")
    assert len(read_request(write("a.yaml", listed(root=root))).files.sources) == 2


def test_too_much_is_refused_by_the_names_of_the_largest():
    write("list.csv", "x" * 3_000_000)
    document = write("a.yaml", listed(root="/clips"))
    with pytest.raises(InputError) as refusal:
        read_request(document, limit_mebibytes=2)
    assert "list.csv 2.86 MiB, a.yaml" in str(refusal.value)
    assert "allowed: 2 MiB" in str(refusal.value)
    assert "--limit-mebibytes 3" in str(refusal.value)
    assert read_request(document, limit_mebibytes=3).files.bytes > 2_000_000


def test_a_link_takes_what_it_leads_to(tmp_path):
    (tmp_path / "real.csv").write_text("path,label\n")
    Path("list.csv").symlink_to(tmp_path / "real.csv")
    request = read_request(write("a.yaml", listed(root="/clips")))
    request.files.copy_into(Path("job"))
    assert Path("job/list.csv").read_text() == "path,label\n"
    assert not Path("job/list.csv").is_symlink()


# ---- what it is told


def test_it_is_told_what_its_document_names(monkeypatch):
    monkeypatch.setenv("MY_CLIPS", "/here")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    monkeypatch.setenv("UNRELATED", "x")
    document = write("a.yaml", listed(annotations="${MY_CLIPS}/list.csv", root="${MY_CLIPS}/clips"))
    request = read_request(document)
    assert request.environment == {"MY_CLIPS": "/here", "MLFLOW_TRACKING_URI": "http://tracking:5000"}
    given = ["MY_CLIPS=/there", "UNRELATED", "MLFLOW_TRACKING_URI=http://other:5000"]
    request = read_request(document, variables_given=given)
    assert request.environment == {
        "MY_CLIPS": "/there",
        "UNRELATED": "x",
        "MLFLOW_TRACKING_URI": "http://other:5000",
    }


def test_a_variable_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("MY_CLIPS", raising=False)
    document = write("a.yaml", listed(annotations="${MY_CLIPS}/list.csv", root="/clips"))
    with pytest.raises(InputError, match=r"a\.yaml: \$\{MY_CLIPS\}: .*not set here .*--env MY_CLIPS="):
        read_request(document)
    assert read_request(document, variables_given=["MY_CLIPS=/x"]).environment == {"MY_CLIPS": "/x"}
    with pytest.raises(InputError, match=r"^--env NOBODY: .*not set here"):
        read_request(document, variables_given=["NOBODY"])
    with pytest.raises(InputError, match="not a variable name"):
        read_request(document, variables_given=["1x=2"])


# ---- where it goes


@pytest.mark.parametrize(
    ("given", "environment", "address"),
    [
        ("http://a:1/", {"RAY_ADDRESS": "http://b:2"}, "http://a:1"),
        ("", {"RAY_API_SERVER_ADDRESS": "http://c:3", "RAY_ADDRESS": "http://b:2"}, "http://c:3"),
        ("", {"RAY_ADDRESS": "https://b:2"}, "https://b:2"),
        ("", {"RAY_ADDRESS": "10.0.0.1:6379"}, "http://127.0.0.1:8265"),
        ("", {}, "http://127.0.0.1:8265"),
    ],
)
def test_the_address(monkeypatch, given, environment, address):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert job_address(given) == address


@pytest.mark.parametrize("given", ["auto", "ray://head:10001", "head:8265", "http://"])
def test_an_address_that_is_no_job_api(given):
    with pytest.raises(InputError, match=r"^--address: .*allowed: http://HOST:8265.*ray dashboard"):
        job_address(given)


# ---- by hand

RECORD = """#!{python}
import json, os, sys
with open(os.environ["RECORD"], "w") as file:
    json.dump({{"words": sys.argv[1:], "api": os.environ.get("RAY_API_SERVER_ADDRESS")}}, file)
"""


def run_line(line, tmp_path):
    """What Ray's command gets when the line is pasted into a shell."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    (tmp_path / "bin" / "ray").write_text(RECORD.format(python=sys.executable))
    (tmp_path / "bin" / "ray").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "RECORD": str(tmp_path / "record"),
    }
    subprocess.run(["bash", "-c", line], check=True, env=environment, timeout=60)
    return json.loads((tmp_path / "record").read_text())


def option(words, name):
    return words[words.index(name) + 1]


def test_the_line_does_the_same_when_pasted(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_CLIPS", '/it\'s here/$HOME/"x"')
    write("list.csv", "")
    document = write("my specs/it's.yaml", listed(root="${MY_CLIPS}/clips"))
    request = read_request(document, ["name=a-b"], options=["--resume"])
    got = run_line(request.ray_command("http://a:1", job_folder(request)), tmp_path)
    words = got["words"]
    assert words[:4] == ["job", "submit", "--address", "http://a:1"]
    assert words[words.index("--") + 1 :] == list(request.words)
    assert json.loads(option(words, "--runtime-env-json")) == {"env_vars": dict(request.environment)}
    assert json.loads(option(words, "--metadata-json")) == request.metadata
    folder = Path(option(words, "--working-dir"))
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        "list.csv",
        "my specs/it's.yaml",
    }
    assert job_folder(request) == folder


def test_the_line_holds_no_secret_and_works(tmp_path, monkeypatch):
    values = {"HF_TOKEN": SECRET + "\"'$x", "MY_CLIPS": "/clips", "DATABASE": "postgresql://me:hunter2@db/x"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    request = read_request(write("a.yaml", DOCUMENT), variables_given=list(values))
    line = request.ray_command("http://a:1", job_folder(request))
    assert SECRET not in line
    assert "hunter2" not in line
    assert "/clips" in line
    words = run_line(line, tmp_path)["words"]
    assert json.loads(option(words, "--runtime-env-json")) == {"env_vars": values}


def test_a_secret_among_the_overrides_is_not_shown():
    request = read_request(write("a.yaml", DOCUMENT), ["tracking.uri=http://me:hunter2@host:5000"])
    assert "hunter2" in request.entrypoint
    assert "hunter2" not in request.ray_command("http://a:1", Path("job"))


def test_the_environment_does_not_turn_the_line_away(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://other:1")
    request = read_request(write("a.yaml", DOCUMENT))
    assert run_line(request.ray_command("http://a:1", Path("job")), tmp_path)["api"] == "http://a:1"
    assert run_line(request.ray_command("http://other:1", Path("job")), tmp_path)["api"] == "http://other:1"
    assert not request.ray_command("http://other:1", Path("job")).startswith("RAY_")
