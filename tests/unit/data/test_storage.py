"""Addresses: files here, files anywhere fsspec reaches, and parts of files."""

import pytest

from loopback_store import loopback_store
from side4video.core.errors import InputError
from side4video.data import storage
from side4video.data.storage import (
    byte_range,
    common_root,
    file_address,
    file_size,
    is_file,
    is_folder,
    list_folder,
    part_address,
    read_bytes,
    relative_path,
    resolve_inside,
    root_address,
)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(storage, "_WAIT_SECONDS", 0.01)


@pytest.fixture
def store(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/one.bin").write_bytes(bytes(range(200)))
    (tmp_path / "a/two words.bin").write_bytes(b"x" * 10)
    (tmp_path / "empty").mkdir()
    (tmp_path / "whole.bin").write_bytes(b"whole")
    with loopback_store(tmp_path) as server:
        yield server


def roots(tmp_path, server):
    return [str(tmp_path), server.address, f"file://{tmp_path}"]


def test_here_and_elsewhere_are_asked_alike(tmp_path, store):
    for root in roots(tmp_path, store):
        one = resolve_inside(root, "a/one.bin", "list:1")
        assert is_file(one), root
        assert read_bytes(resolve_inside(root, "a/two words.bin", "")) == b"x" * 10
        assert is_file(resolve_inside(root, "a/two words.bin", ""))
        assert is_folder(resolve_inside(root, "a", ""))
        assert not is_file(resolve_inside(root, "a", ""))
        assert not is_file(resolve_inside(root, "a/none.bin", ""))
        assert not is_file(resolve_inside(root, "none/none.bin", ""))
        assert file_size(one) == 200
        assert file_size(resolve_inside(root, "a/none.bin", "")) is None
        assert read_bytes(one) == bytes(range(200))
        assert relative_path(one, root) == "a/one.bin"
        assert next(entry.name for entry in list_folder(resolve_inside(root, "a", ""))) == "one.bin"


def test_a_part_is_its_bytes_and_no_more(tmp_path, store):
    for root in roots(tmp_path, store):
        part = part_address(f"{root}/a/one.bin", 20, 30)
        assert read_bytes(part) == bytes(range(20, 50))
        assert file_size(part) == 30
        assert byte_range(part) == (20, 30)
        assert file_address(part) == f"{root}/a/one.bin"
        assert is_file(part)
        with pytest.raises(OSError, match="ends 10 bytes before the part does"):
            read_bytes(part_address(f"{root}/a/one.bin", 180, 30))


def test_a_remote_part_fetches_nothing_else(store):
    read_bytes(part_address(f"{store.address}/a/one.bin", 20, 30))
    assert [path for path in store.asked if path.endswith("one.bin")] == ["/a/one.bin"]


@pytest.mark.parametrize("path", ["../secret.mp4", "a/../../b.mp4", "/etc/passwd", "s3://other/b.mp4", ".."])
def test_a_listed_path_cannot_leave_its_root(path):
    for root in ("/clips", "s3://bucket/clips"):
        if root == "/clips" and path.startswith("s3://"):
            assert resolve_inside(root, path, "list:3") == "/clips/s3:/other/b.mp4"
            continue
        with pytest.raises(InputError, match=r"list:3: the path .* leaves the root folder"):
            resolve_inside(root, path, "list:3")


def test_a_store_that_fails_is_asked_again_and_then_believed(store):
    address = f"{store.address}/whole.bin"
    store.failures["/whole.bin"] = 2
    assert read_bytes(address) == b"whole"
    store.failures["/whole.bin"] = 3
    with pytest.raises(OSError, match="http does not give it"):
        read_bytes(address)
    assert len([path for path in store.asked if path == "/whole.bin"]) == 6


def test_what_is_not_there_is_not_asked_for_again(store):
    with pytest.raises(FileNotFoundError):
        read_bytes(f"{store.address}/none.bin")
    assert store.asked.count("/none.bin") == 1


def test_a_folder_is_listed_once(store):
    for name in ("one.bin", "two.bin", "three.bin"):
        is_file(f"{store.address}/a/{name}")
    assert len([path for path in store.asked if path == "/a/"]) == 1


def test_a_protocol_says_what_it_needs(monkeypatch):
    with pytest.raises(InputError, match="'nowhere' is not a protocol of fsspec"):
        root_address("nowhere://bucket/clips", "data.dataset.root")
    import fsspec.core

    def missing(address):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(InputError, match=r"data\.dataset\.root: .*Install s3fs.* · fix: pip install s3fs"):
        root_address("s3://bucket/clips", "data.dataset.root")


def test_roots_are_absolute_and_hold_variables(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert root_address("${CLIPS}/b", "root") == root_address("b", "root") == f"{tmp_path}/b"
    assert root_address("file:///clips/", "root") == "file:///clips"


def test_the_common_root_is_the_deepest_folder():
    assert common_root(["/a/b/c.mp4", "/a/b/d/e.mp4"]) == "/a/b"
    assert common_root(["s3://x/a/c.mp4", "s3://x/b/d.mp4"]) == "s3://x"
    assert common_root(["/a.mp4"]) == "/"
    assert common_root([]) == ""
    shard = [part_address("/s/train-0.tar", 512, 10), part_address("/s/train-1.tar", 512, 10)]
    assert common_root(shard) == "/s"


def test_a_link_to_itself_hides_nothing_else(tmp_path):
    """Asking it what it is raises; the folder's other entries are listed all the same."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "a").mkdir()
    assert [(entry.name, entry.is_folder) for entry in list_folder(str(tmp_path))] == [("a", True), ("loop", False)]
