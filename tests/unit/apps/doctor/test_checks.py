"""Each check by itself: what it says when all is well, and when it is not."""

import shutil
import socket
import sqlite3
from collections import namedtuple

import numpy as np
import pytest

from side4video.apps.doctor import library_checks, machine_checks, store_check
from side4video.apps.doctor.finding import Finding
from side4video.core.units import GIB, MIB
from side4video.data.decode.frames import DecodeInfo


def assert_ok(found: Finding):
    assert found.status == "ok", found
    assert found.fix == ""


def assert_failed(found: Finding, *words):
    assert found.status == "failed", found
    assert found.fix
    assert all(word in found.text for word in words), found


# ---- the machine


def test_python_and_packages(monkeypatch):
    assert_ok(machine_checks.check_python())
    assert_ok(machine_checks.check_packages())
    monkeypatch.setattr(machine_checks, "MIN_PYTHON", (99, 0))
    assert_failed(machine_checks.check_python(), "Python 3.")
    monkeypatch.setattr(machine_checks, "versions", lambda: {"torch": "2"})
    assert_failed(machine_checks.check_packages(), "ray", "missing")


def test_a_machine_without_a_gpu(monkeypatch, tmp_path):
    monkeypatch.setattr(machine_checks, "find_gpus", lambda: ())
    monkeypatch.setattr(machine_checks, "DRIVER", tmp_path / "none")
    monkeypatch.setattr(machine_checks.shutil, "which", lambda name: None)
    found = machine_checks.check_gpu()
    assert_ok(found)
    assert "CPU" in found.text
    (tmp_path / "version").touch()
    monkeypatch.setattr(machine_checks, "DRIVER", tmp_path / "version")
    assert_failed(machine_checks.check_gpu(), "driver", "finds no GPU")


def test_cores(monkeypatch):
    monkeypatch.setattr(machine_checks, "usable_cores", lambda: 4)
    assert_ok(machine_checks.check_cores())
    monkeypatch.setattr(machine_checks, "usable_cores", lambda: 1)
    assert machine_checks.check_cores().status == "note"


def test_a_home_that_is_not_there_is_not_made(monkeypatch, tmp_path):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "a" / "b"))
    monkeypatch.setattr(machine_checks, "free_bytes", lambda place: 100 * GIB)
    assert_ok(machine_checks.check_home())
    assert not (tmp_path / "a").exists()


def test_a_home_that_cannot_be_used(monkeypatch, tmp_path):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(machine_checks, "is_writable", lambda folder: False)
    assert_failed(machine_checks.check_home(), "cannot be written")
    (tmp_path / "home").touch()
    assert_failed(machine_checks.check_home(), "is a file")


@pytest.mark.parametrize("home", ["/proc/x", "/proc/x/y", "/dev/null/x"])
def test_a_home_that_cannot_be_made(monkeypatch, home):
    monkeypatch.setenv("SIDE4VIDEO_HOME", home)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for check in (machine_checks.check_home, store_check.check_store):
        found = check()
        assert_failed(found, "cannot be made")
        assert "SIDE4VIDEO_HOME" in found.fix


@pytest.mark.parametrize(("free", "status"), [(100 * GIB, "ok"), (GIB, "note"), (MIB, "failed")])
def test_free_space(monkeypatch, free, status):
    for check in (machine_checks.check_home, machine_checks.check_temporary_folder):
        monkeypatch.setattr(machine_checks, "free_bytes", lambda place: free)
        assert check().status == status


def test_a_temporary_folder_that_cannot_be_written(monkeypatch, tmp_path):
    monkeypatch.setattr(machine_checks.tempfile, "gettempdir", lambda: str(tmp_path / "gone"))
    assert_failed(machine_checks.check_temporary_folder(), "gone")


@pytest.mark.parametrize(("free", "status"), [(8 * GIB, "ok"), (64 * MIB, "note")])
def test_shared_memory(monkeypatch, tmp_path, free, status):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(machine_checks, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(machine_checks.shutil, "disk_usage", lambda place: usage(free, 0, free))
    assert machine_checks.check_shared_memory().status == status
    monkeypatch.setattr(machine_checks, "SHARED_MEMORY", tmp_path / "none")
    assert_ok(machine_checks.check_shared_memory())


# ---- libraries


def test_ray_and_its_ports(monkeypatch):
    monkeypatch.setattr(library_checks.tempfile, "gettempdir", lambda: "/tmp")
    assert_ok(library_checks.check_ray())
    monkeypatch.setattr(library_checks.tempfile, "gettempdir", lambda: "/" + "x" * 80)
    assert "TMPDIR" in library_checks.check_ray().fix

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(library_checks.socket, "create_server", refuse)
    assert_failed(library_checks.check_ray(), "127.0.0.1", "Permission denied")


def test_pyav_decodes_what_it_has_encoded():
    found = library_checks.check_pyav()
    assert_ok(found)
    assert "decodes H.264" in found.text


def test_decord_decodes_where_it_is_installed():
    found = library_checks.check_decord()
    assert_ok(found)
    assert ("decodes" in found.text) == (library_checks.installed("decord") != "")


def test_a_decoder_that_is_not_installed_is_no_failure(monkeypatch):
    monkeypatch.setattr(library_checks, "find_spec", lambda name: None)
    assert_ok(library_checks.check_torchcodec())


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("other frames", "other frames than were encoded"),
        ("another decoder", "cannot decode"),
        ("a bit", "other frames"),
    ],
)
def test_a_decoder_with_a_fault_is_noticed(monkeypatch, fault, said):
    real = library_checks.decode_frames

    def faulty(path, choose, *, decoder):
        frames, info = real(path, choose, decoder="pyav")
        if decoder == "pyav":
            return frames, info
        if fault == "other frames":
            return frames[::-1], DecodeInfo(info.total_frames, decoder)
        if fault == "another decoder":
            return frames, info
        changed = frames.copy()
        changed[0, 0, 0, 0] ^= 1
        return changed, DecodeInfo(info.total_frames, decoder)

    monkeypatch.setattr(library_checks, "find_spec", lambda name: True)
    monkeypatch.setattr(library_checks, "decode_frames", faulty)
    found = library_checks.check_decoder("decord")
    assert found.status == "note"
    assert said in found.text
    assert np.all(real is not faulty)


def test_pyav_with_a_fault_is_a_failure(monkeypatch):
    real = library_checks.decode_frames

    def faulty(path, choose, *, decoder):
        frames, info = real(path, choose, decoder=decoder)
        return frames[::-1], info

    monkeypatch.setattr(library_checks, "decode_frames", faulty)
    assert_failed(library_checks.check_pyav(), "other frames")


@pytest.mark.parametrize(
    ("cached", "network", "status"), [(True, False, "ok"), (False, True, "ok"), (False, False, "note")]
)
def test_weights(monkeypatch, tmp_path, cached, network, status):
    from side4video.models.towers import cached_weights
    from side4video.models.towers.cached_weights import PretrainedFile

    there = [PretrainedFile("ViT-B-32-quickgelu", "openai", "timm/x", tmp_path)] if cached else []
    monkeypatch.setattr(cached_weights, "cached_weights", lambda: there)
    monkeypatch.setattr(cached_weights, "can_reach_hub", lambda seconds: network)
    found = library_checks.check_weights()
    assert found.status == status
    assert ("ViT-B-32-quickgelu (openai)" in found.text) == cached


# ---- the store


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "home"


def test_a_store_that_is_not_there_is_not_made(home):
    found = store_check.check_store()
    assert_ok(found)
    assert "is made at the first run" in found.text
    assert not home.exists()


def test_a_whole_store_is_looked_at_and_not_changed(home, empty_database):
    home.mkdir()
    shutil.copyfile(empty_database, home / "mlflow.db")
    before = (home / "mlflow.db").read_bytes()
    found = store_check.check_store()
    assert_ok(found)
    assert "whole" in found.text
    assert (home / "mlflow.db").read_bytes() == before
    assert [each.name for each in home.iterdir()] == ["mlflow.db"]


def test_a_read_only_home(home, empty_database, monkeypatch):
    monkeypatch.setattr(store_check, "is_writable", lambda folder: False)
    assert_failed(store_check.check_store(), "cannot be made")
    home.mkdir()
    shutil.copyfile(empty_database, home / "mlflow.db")
    assert_failed(store_check.check_store(), "no run can be recorded")


def test_a_damaged_or_foreign_file(home):
    home.mkdir()
    (home / "mlflow.db").write_bytes(b"no database at all, " * 100)
    assert_failed(store_check.check_store(), "not a SQLite database")
    (home / "mlflow.db").unlink()
    with sqlite3.connect(home / "mlflow.db") as database:
        database.execute("CREATE TABLE runs (a)")
        database.execute("INSERT INTO runs VALUES (1)")
    assert_failed(store_check.check_store())


def test_a_server_that_answers_and_one_that_does_not(home, monkeypatch):
    monkeypatch.setattr(store_check, "is_reachable", lambda uri: True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:pa55@127.0.0.1:9/")
    assert_ok(store_check.check_store())
    monkeypatch.setattr(store_check, "is_reachable", lambda uri: False)
    found = store_check.check_store()
    assert_failed(found, "does not answer")
    assert "pa55" not in found.text


def test_a_database_server(home, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"mysql://user:pa55@127.0.0.1:{port}/runs")
        assert_ok(store_check.check_store())
    found = store_check.check_store()
    assert_failed(found, "does not answer")
    assert "pa55" not in found.text


def test_a_postgresql_server_that_is_away(home, monkeypatch):
    pytest.importorskip("psycopg")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://user:pa55@127.0.0.1:9/runs")
    found = store_check.check_store()
    assert_failed(found, "does not answer")
    assert "pa55" not in found.text + found.fix


def test_an_address_that_is_none(home, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "relative/path")
    assert_failed(store_check.check_store(), "MLFLOW_TRACKING_URI")
