"""The app takes uploads in pieces and no more than allowed, answers everybody, and leaves nothing on disk."""

import http.client
import json
import socket
import threading
import time

import pytest

from served_app import VIDEO, form, left, post, served
from side4video.apps.serve.app import RETRY_SECONDS, App, QueueFull
from side4video.apps.serve.protocol import PredictResponse


def test_a_body_and_a_form_are_the_same_question(tmp_path):
    with served(tmp_path) as (port, asked, _):
        answer, document = post(port, path="/predict?top_k=3&name=a.mp4&threshold=0.25")
        assert (answer.status, document) == (200, {"labels": [["a", 1.0]]})
        body, headers = form(("video", "..\\x/../a.mp4", VIDEO), ("top_k", None, b"3"), ("threshold", None, b".25"))
        assert post(port, body, headers=headers)[0].status == 200
        for question, contents in asked:
            assert (question.names, question.top, contents) == (("a.mp4",), 3, [VIDEO])
            assert question.threshold == 0.25
            assert all(path.startswith(str(tmp_path / "uploads")) for path in question.paths)
    assert left(tmp_path) == []


def test_a_search_has_a_text_and_several_videos(tmp_path):
    with served(tmp_path, kind="search") as (port, asked, _):
        parts = [("video", f"{n}.mp4", VIDEO + bytes([n])) for n in range(3)]
        body, headers = form(("text", None, "ein Hühnchen".encode()), *parts)
        assert post(port, body, "/search", headers)[0].status == 200
        ((question, contents),) = asked
        assert (question.text, question.names) == ("ein Hühnchen", ("0.mp4", "1.mp4", "2.mp4"))
        assert contents == [content for _, _, content in parts]
        answer, document = post(port, form(*parts)[0], "/search", headers)
        assert (answer.status, document["error"]) == (
            400,
            "there is no text; give the text to search for in the field `text`",
        )
        many = form(("text", None, b"a"), *[("video", "a.mp4", VIDEO)] * 33)
        assert post(port, many[0], "/search", headers)[0].status == 400


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        (b"", {}, 415, "the file is empty"),
        (b"hello there", {}, 415, "it is a text file, not a video"),
        (b"<!doctype html><p>", {}, 415, "it is a web page"),
        (VIDEO, {"Content-Type": "multipart/form-data"}, 400, "Missing boundary"),
        (*form(("video", "a", VIDEO), end=False), 400, "it has no end"),
        (VIDEO, {"Content-Type": "multipart/form-data; boundary=a"}, 400, "the form cannot be read"),
        (*form(("top_k", None, b"3")), 400, "there is no file in it"),
        (*form(("video", "a", VIDEO), ("video", "b", VIDEO)), 400, "Too many files. Maximum number of files is 1"),
        (*form(("video", "a", VIDEO), ("top_k", None, b"x")), 400, "top_k is 'x'; allowed: 1 to 1000"),
        (*form(("video", "a", VIDEO), ("threshold", None, b"1.01")), 400, "threshold is '1.01'; allowed: 0 to 1"),
        (*form(("video", "a", VIDEO), ("threshold", None, b"nan")), 400, "threshold is 'nan'; allowed: 0 to 1"),
        (*form(("top_k", None, b"1" * 20_000), ("video", "a", VIDEO)), 400, "Part exceeded maximum size of 16KB"),
        (*form(*[(f"f{n}", None, b"1") for n in range(20)]), 400, "Too many fields"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(tmp_path, body, headers, status, message):
    with served(tmp_path) as (port, asked, _):
        answer, document = post(port, body, headers=headers)
        assert (answer.status, asked) == (status, [])
        assert message in document["error"]
    assert left(tmp_path) == []


def test_a_length_that_is_too_large_is_refused_before_anything_is_sent(tmp_path):
    with served(tmp_path) as (port, _, _), socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
        wire.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5368709120\r\n\r\n")
        assert wire.recv(1000).startswith(b"HTTP/1.1 413 ")
    assert left(tmp_path) == []


def sent_until_refused(port, headers=b"Transfer-Encoding: chunked\r\n", most=64):
    """MiB of an endless upload that were taken, by somebody who goes on whatever is said; and what is said."""
    piece = b"100000\r\n" + bytes(2**20) + b"\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
        wire.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n")
        wire.setblocking(False)
        begin, sent, waiting = time.monotonic(), 0, b""
        answer = b""
        while time.monotonic() - begin < 20 and sent < most * len(piece):
            try:
                answer += wire.recv(1000)
            except BlockingIOError:
                pass
            except ConnectionError:
                break
            try:
                waiting = waiting or piece
                count = wire.send(waiting)
                sent, waiting = sent + count, waiting[count:]
            except BlockingIOError:
                time.sleep(0.005)
            except ConnectionError:
                break
    return sent / len(piece), answer


def test_an_endless_upload_is_refused_when_it_passes_the_limit(tmp_path):
    with served(tmp_path) as (port, asked, _):
        sent, answer = sent_until_refused(port)
        assert answer.startswith(b"HTTP/1.1 413 ")
        # The limit, what a form may be longer, and what lies in sockets.
        assert sent < 16
        assert asked == []
    assert left(tmp_path) == []


def test_an_upload_without_a_limit_is_noticed(tmp_path):
    """The broken twin of the test above."""
    with served(tmp_path, limits={"max_bytes": 2**40}) as (port, _, _):
        sent, answer = sent_until_refused(port, most=24)
        assert sent >= 16
        assert not answer


def test_who_comes_when_all_places_are_taken_may_come_again(tmp_path):
    release = threading.Event()

    async def slow(question):
        import asyncio

        while not release.is_set():
            await asyncio.sleep(0.01)
        return PredictResponse({"labels": []})

    with served(tmp_path, slow, max_uploads=2) as (port, asked, app):
        found = []
        threads = [threading.Thread(target=lambda: found.append(post(port)[0].status)) for _ in range(2)]
        for thread in threads:
            thread.start()
        while len(asked) < 2:
            time.sleep(0.01)
        answer, document = post(port)
        assert (answer.status, answer.headers["Retry-After"]) == (503, str(RETRY_SECONDS))
        assert "too many requests" in document["error"]
        release.set()
        for thread in threads:
            thread.join(20)
        assert found == [200, 200]
        assert post(port)[0].status == 200
        assert app.uploads == 0


def test_a_busy_model_and_one_that_never_answers(tmp_path):
    async def busy(question):
        raise QueueFull

    with served(tmp_path, busy) as (port, _, _):
        answer, _ = post(port)
        assert (answer.status, answer.headers["Retry-After"]) == (503, str(RETRY_SECONDS))

    async def never(question):
        import asyncio

        await asyncio.sleep(60)

    with served(tmp_path, never, answer_seconds=0.2) as (port, _, _):
        answer, document = post(port)
        assert (answer.status, document["error"]) == (504, "no answer within 0.2 s")
    assert left(tmp_path) == []


def leave_in_the_middle(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
        wire.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" + bytes(50_000))
        time.sleep(0.2)


def test_who_leaves_in_the_middle_leaves_nothing(tmp_path):
    with served(tmp_path) as (port, asked, app):
        leave_in_the_middle(port)
        assert left(tmp_path) == []
        assert (asked, app.uploads) == ([], 0)


def test_who_sends_nothing_is_not_waited_for(tmp_path):
    with (
        served(tmp_path, limits={"idle_seconds": 0.2}) as (port, _, _),
        socket.create_connection(("127.0.0.1", port), timeout=10) as wire,
    ):
        wire.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nabc")
        assert wire.recv(1000).startswith(b"HTTP/1.1 408 ")
    assert left(tmp_path) == []


class Leaving(App):
    def remove(self, folder):
        pass


def test_files_that_stay_are_noticed(tmp_path):
    """The broken twin: they are not removed."""
    with served(tmp_path, app=Leaving) as (port, _, _):
        leave_in_the_middle(port)
        post(port)
        assert len(left(tmp_path)) == 2


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    async def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("starlette.datastructures.UploadFile.write", full)
    with served(tmp_path) as (port, _, _):
        body, headers = form(("video", "a", VIDEO))
        answer, document = post(port, body, headers=headers)
        assert (answer.status, document["error"]) == (507, "there is no room for it here (No space left on device)")


def test_files_of_a_form_that_are_too_large_together(tmp_path):
    body, headers = form(("text", None, b"a"), *[("video", "a.mp4", VIDEO + bytes(3 * 2**18))] * 2)
    with served(tmp_path, kind="search") as (port, asked, _):
        answer, document = post(port, body, "/search", headers)
        assert (answer.status, document["error"], asked) == (413, "it is larger than the limit of 1 MiB", [])
    assert left(tmp_path) == []


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer, answer.read()


def test_pages_and_health(tmp_path):
    with served(tmp_path) as (port, _, _):
        answer, content = get(port, "/")
        assert (answer.status, content) == (200, b"<p>page")
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        answer, content = get(port, "/health")
        assert (answer.status, json.loads(content)) == (
            200,
            {"status": "ok", "uploads": 0, "max_uploads": 4, "model": "m"},
        )
        for path in ("/predict", "/nothing", "/../../etc/passwd"):
            answer, content = get(port, path)
            assert answer.status in (404, 405)
            assert "allowed: GET /, GET /health, POST /predict" in json.loads(content)["error"]
    with served(tmp_path, healthy=False) as (port, _, _):
        assert get(port, "/health")[0].status == 503
