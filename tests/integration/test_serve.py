"""`side4video serve`: the answers of `predict`, in a bounded memory, on loopback; nothing is left when it ends."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from PIL import Image

import side4video
from browsers import BROWSER, MISSING
from exported import exported
from side4video.core.progress import SILENT
from side4video.runs.launch import launch
from side4video.spec.bundle import sealed
from tiny import tiny

pytestmark = [pytest.mark.slow, pytest.mark.long]

MOST_MIB = 4
TEXT_SIDE = {"text": {"kind": "transformer", "width": 16, "layers": 1, "head_width": 8}, "output_dim": 32}
START_SECONDS = 150


def quiet(message):
    pass


@dataclass
class Server:
    process: subprocess.Popen
    port: int
    temporary: Path

    @property
    def family(self):
        """The command and all that it started."""
        whole = psutil.Process(self.process.pid)
        return [whole, *whole.children(recursive=True)]

    def resident(self):
        """Bytes of the command itself, and of its replicas."""
        replicas = [each for each in self.family if "ServeReplica" in " ".join(each.cmdline())]
        assert replicas
        return psutil.Process(self.process.pid).memory_info().rss, sum(each.memory_info().rss for each in replicas)


@contextmanager
def serving(model, *options):
    """A server in a process and a temporary folder of its own; it ends by SIGTERM."""
    # Short, or Ray's sockets would have names that are too long for it.
    temporary = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))
    source = str(Path(side4video.__file__).parents[1])
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": source, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "side4video", "serve", str(model), "--port", "0", "--device", "cpu", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    timer = threading.Timer(START_SECONDS, process.kill)
    timer.start()
    try:
        line = process.stdout.readline()
        timer.cancel()
        assert line.startswith("http://127.0.0.1:"), process.stderr.read()
        yield Server(process, int(line.split()[0].rpartition(":")[2]), temporary)
    finally:
        timer.cancel()
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(temporary, ignore_errors=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An exported model with all it needs."""
    return exported(tmp_path_factory.mktemp("served"), "served")


@pytest.fixture(scope="module")
def videos():
    return [clip.path for clip in tiny().data.dataset.clips("test")]


@pytest.fixture(scope="module")
def server(folder):
    with serving(folder, "--max-upload-mib", str(MOST_MIB), "--queue", "16") as server:
        yield server


def post(port, body, path="/predict", timeout=120):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    connection.request("POST", path, body)
    answer = connection.getresponse()
    document = json.loads(answer.read())
    connection.close()
    return answer, document


def test_answers_are_those_of_predict(server, folder, videos):
    expected = side4video.load(folder).predict(videos[:3], top=4)
    for video, prediction in zip(videos, expected, strict=False):
        _, document = post(server.port, Path(video).read_bytes(), "/predict?top_k=4")
        alone = side4video.load(folder).predict([video], top=4)[0]
        assert [tuple(label) for label in document["labels"]] == list(alone.labels)
        assert [name for name, _ in document["labels"]] == [name for name, _ in prediction.labels]


def test_curl_sends_a_form(server, folder, videos):
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    command = ["curl", "-sS", "-F", f"video=@{videos[1]}", "-F", "top_k=2", f"http://127.0.0.1:{server.port}/predict"]
    found = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    expected = side4video.load(folder).predict([videos[1]], top=2)[0]
    assert found == {"video": Path(videos[1]).name, "labels": [list(label) for label in expected.labels]}


def test_a_browser_sends_a_video_and_shows_the_answer(server, folder, videos, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if BROWSER is None:
        pytest.skip(MISSING)
    expected = side4video.load(folder).predict([videos[2]], top=5)[0].labels
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(BROWSER), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        problems, asked = [], []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"http://127.0.0.1:{server.port}/")
        page.set_input_files("#files", videos[2])
        page.locator("li").nth(4).wait_for(timeout=60_000)
        shown = [tuple(row.split("\n")) for row in page.locator(".name").all_inner_texts()]
        assert shown == [(name, f"{100 * score:.1f}%") for name, score in expected]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.set_input_files("#files", str(Path(__file__)))
        assert page.locator(".wrong").inner_text(timeout=60_000) == "it is a text file, not a video"
        assert problems == []
        assert all(url.startswith((f"http://127.0.0.1:{server.port}/", "blob:", "data:")) for url in asked)
        page.screenshot(path=str(tmp_path / "page.png"), full_page=True)
        browser.close()
    assert Image.open(tmp_path / "page.png").width == 390


def test_what_is_no_video_is_refused_in_a_sentence(server, videos, tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "picture.png")
    whole = Path(videos[0]).read_bytes()
    cases = {
        b"hello": (415, "it is a text file, not a video"),
        (tmp_path / "picture.png").read_bytes(): (415, "its format is none of those that are read"),
        b"\0" + os.urandom(5000): (415, "no video can be read in it"),
        whole[: len(whole) // 2]: (415, "no video can be read in it"),
    }
    for body, (status, message) in cases.items():
        answer, document = post(server.port, body)
        assert (answer.status, message in document["error"]) == (status, True), document
    assert post(server.port, whole)[0].status == 200


def test_five_gigabytes_are_refused_at_once_and_never_held(server):
    front, replicas = server.resident()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as wire:
        wire.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5368709120\r\n\r\n")
        assert wire.recv(1000).startswith(b"HTTP/1.1 413 ")
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as wire:
        wire.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = 0
        try:
            while sent < 5 * 2**30:
                wire.sendall(b"100000\r\n" + bytes(2**20) + b"\r\n")
                sent += 2**20
        except ConnectionError:  # it was answered, and the rest is not taken
            pass
    assert sent < 64 * 2**20
    grown = [after - before for before, after in zip((front, replicas), server.resident(), strict=True)]
    assert max(grown) < 64 * 2**20
    assert uploads_of(server) == []


def uploads_of(server):
    for _ in range(100):
        found = [path for place in server.temporary.glob("side4video-run-*/uploads") for path in place.iterdir()]
        if not found:
            return []
        time.sleep(0.05)
    return found


def test_two_hundred_at_a_time_are_all_answered_and_memory_stays(server, videos, record_property):
    body = Path(videos[0]).read_bytes()
    for _ in range(3):
        post(server.port, body)
    before = server.resident()
    found, gate = [], threading.Barrier(200)

    def ask():
        gate.wait(60)
        try:
            answer, document = post(server.port, body)
            found.append((answer.status, answer.headers["Retry-After"], document.get("labels")))
        except OSError as error:
            found.append((type(error).__name__, None, None))

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)
    after = server.resident()
    counts = Counter(status for status, *_ in found)
    for name, value in {"answers": dict(counts), "resident_before": before, "resident_after": after}.items():
        record_property(name, value)
    assert len(found) == 200
    assert set(counts) == {200, 503}
    assert all(retry is not None for status, retry, _ in found if status == 503)
    right = [labels for status, _, labels in found if status == 200]
    assert len(right) >= 16
    for labels in right:  # in whatever batch it was: equal to rounding
        assert [name for name, _ in labels] == [name for name, _ in right[0]]
        assert max(abs(one[1] - other[1]) for one, other in zip(labels, right[0], strict=True)) < 1e-5
    assert max(late - early for early, late in zip(before, after, strict=True)) < 200 * 2**20
    assert post(server.port, body)[0].status == 200
    assert uploads_of(server) == []


def test_nothing_but_loopback_listens(server):
    open_ports = [
        (each.name(), port.laddr.ip)
        for each in server.family
        for port in each.net_connections("inet")
        if port.status == psutil.CONN_LISTEN
    ]
    assert len(open_ports) > 3
    assert {address for _, address in open_ports} <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}, open_ports


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_leaves_no_process_and_no_file(folder, videos, number):
    with serving(folder) as server:
        assert post(server.port, Path(videos[0]).read_bytes())[0].status == 200
        family = server.family
        assert len(family) > 3
        server.process.send_signal(number)
        assert server.process.wait(60) == 0
        _, alive = psutil.wait_procs(family, timeout=15)
        assert alive == []
        assert list(server.temporary.iterdir()) == []
        out, errors = server.process.communicate()
        assert out == ""
        assert errors.split("\n")[-2:] == ["ended.", ""]
        assert "raylet" not in errors


def refused(*arguments):
    source = str(Path(side4video.__file__).parents[1])
    command = [sys.executable, "-m", "side4video", "serve", *arguments, "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": source}
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, env=environment)
    line = done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    return done.returncode, line


def test_what_cannot_be_served_is_one_line(folder, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    bundle = json.loads((other / "bundle.json").read_text())
    (other / "backbone.safetensors").unlink()
    bundle["checksums"].pop("backbone.safetensors")
    (other / "bundle.json").write_text(json.dumps(sealed({**bundle, "backbone_sha256": "0" * 64})))
    code, line = refused(str(other), "--port", "0")
    assert (code, "the tower's fingerprint is" in line) == (2, True), line
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, line = refused(str(folder), "--port", str(taken.getsockname()[1]))
    assert (code, "Address already in use" in line, "fix: name another one" in line) == (2, True, True), line


def test_a_retrieval_run_ranks_the_videos_that_are_sent(videos):
    task = {"kind": "retrieval", "words": 16, "matching": {"kind": "mean"}}
    spec = tiny(name="searched", backbone=TEXT_SIDE, task=task)
    run_id = launch({"tiny": spec}, progress=SILENT)["tiny"].run_id
    with serving(run_id) as server:
        sent = [*videos[:3], __file__]
        command = ["curl", "-sS", "-F", "text=a disc moves left"]
        for number, video in enumerate(sent):
            command += ["-F", f"video=@{video};filename={number}"]
        done = subprocess.run([*command, f"http://127.0.0.1:{server.port}/search"], capture_output=True, timeout=90)
        found = json.loads(done.stdout)
        assert sorted(each["video"] for each in found["ranking"]) == ["0", "1", "2"]
        assert [each["rank"] for each in found["ranking"]] == [1, 2, 3]
        assert found["broken"] == [{"video": "3", "error": "it is a text file, not a video"}]
        scores = {each["video"]: each["score"] for each in found["ranking"]}
    place = Path(tempfile.mkdtemp())
    for number, video in enumerate(videos[:3]):
        shutil.copy2(video, place / f"{number}.mp4")
    from side4video.apps.search.command import search

    done = CliRunner().invoke(search, [run_id, "a disc moves left", str(place), "--json"], catch_exceptions=False)
    shutil.rmtree(place)
    expected = {Path(each["path"]).stem: each["score"] for each in json.loads(done.stdout)}
    assert scores == pytest.approx(expected, abs=1e-6)
