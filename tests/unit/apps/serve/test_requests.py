"""Whatever a client sends, the real server answers with the right status and a line of JSON, in time."""

import json
import socket
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from served_app import VIDEO, form, left, post, served
from side4video.apps.serve.allowed_hosts import AllowedHosts, allowed_hosts
from side4video.apps.serve.connection import MAX_HEAD_BYTES, MAX_LINE_BYTES, ConnectionLimits
from side4video.core.network import names_here

QUICK = ConnectionLimits(head_seconds=0.4, write_seconds=0.4)
PLACE = b"Host: localhost\r\n"
POST = b"POST /predict HTTP/1.1"


def request(line=POST, *headers, body=VIDEO, host=PLACE, length=True):
    """The bytes of a request."""
    lines = [*headers, b"Content-Length: %d" % len(body)] if length else headers
    return line + b"\r\n" + host + b"".join(each + b"\r\n" for each in lines) + b"\r\n" + body


def chunked(*parts, end=b"0\r\n\r\n"):
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + end
    return request(POST, b"Transfer-Encoding: chunked", body=body, length=False)


def get(*headers, host=PLACE):
    return request(b"GET / HTTP/1.1", *headers, body=b"", host=host, length=False)


def of_form(content_type, body=b"", line=POST):
    return request(line, b"Content-Type: " + content_type, body=body)


def part(head, content=b"x"):
    return b"--xyz\r\n" + head + b"\r\n\r\n" + content + b"\r\n--xyz--\r\n"


def with_fields(*parts):
    body, headers = form(*parts)
    return of_form(headers["Content-Type"].encode(), body)


TOP = b"top_k=" + b"0" * 8 + b"1"
DISPOSITION = b'Content-Disposition: form-data; name="video"; filename="a"'
FORM = b"multipart/form-data; boundary=xyz"
REQUESTS = {
    "a video": (200, request()),
    "a video in pieces": (200, chunked(VIDEO[:7], VIDEO[7:])),
    "the page": (200, get()),
    "HTTP/1.0 without a host": (200, request(b"GET / HTTP/1.0", body=b"", host=b"", length=False)),
    "another port": (200, get(host=b"Host: LOCALHOST:1\r\n")),
    "an address": (200, get(host=b"Host: 127.0.0.1:8000\r\n")),
    "an address of six": (200, get(host=b"Host: [::1]:8000\r\n")),
    "its own page": (
        200,
        request(POST, b"Origin: http://localhost", b"Sec-Fetch-Site: same-origin"),
    ),
    "a link on another page": (200, get(b"Sec-Fetch-Site: cross-site")),
    # names
    "no host": (400, get(host=b"")),
    "two hosts": (400, get(b"Host: localhost")),
    "an empty host": (421, get(host=b"Host:\r\n")),
    "another host": (421, get(host=b"Host: evil.example\r\n")),
    "another host that begins as ours": (421, get(host=b"Host: localhost.evil.example\r\n")),
    "a host with a user": (421, get(host=b"Host: a@localhost\r\n")),
    "a video under another name": (421, request(host=b"Host: evil.example:8000\r\n")),
    "another page": (403, request(POST, b"Origin: http://evil.example")),
    "another page that looks as ours": (
        403,
        request(POST, b"Origin: http://localhost@evil.example"),
    ),
    "a page without a name": (403, request(POST, b"Origin: null")),
    "an origin that is none": (403, request(POST, b"Origin: http://[::1")),
    "another page's form": (403, request(POST, b"Sec-Fetch-Site: cross-site")),
    "another page reads": (403, get(b"Origin: https://evil.example")),
    # heads
    "a long line": (414, request(b"GET /" + b"a" * MAX_LINE_BYTES + b" HTTP/1.1", body=b"")),
    "a line without an end": (414, b"GET /" + b"a" * 2**20),
    "long headers": (431, get(b"A: " + b"a" * MAX_HEAD_BYTES)),
    "many headers": (431, get(*[b"A%d: a" % n for n in range(MAX_HEAD_BYTES // 6)])),
    "headers without an end": (431, b"GET / HTTP/1.1\r\n" + PLACE + b"A: a\r\n" * 2**17),
    "a header without a name": (400, get(b": a")),
    "a NUL in a header": (400, get(b"A: a\0b")),
    "a header that goes on": (400, b"GET / HTTP/1.1\r\n A: a\r\n\r\n"),
    "no request": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "nonsense": (400, b"hello\r\n\r\n"),
    "another version": (400, request(b"GET / HTTP/2.0", body=b"")),
    # methods and paths
    "another method": (405, request(b"BREW /predict HTTP/1.1")),
    "a method that deletes": (405, request(b"DELETE / HTTP/1.1", body=b"")),
    "a method that is none": (400, request(b"G{T / HTTP/1.1", body=b"")),
    "a tunnel": (400, request(b"CONNECT localhost:1 HTTP/1.1", body=b"", length=False)),
    "another path": (404, request(b"POST /search HTTP/1.1")),
    "a path with a NUL": (404, request(b"GET /%00%1b]0;a%07 HTTP/1.1", body=b"")),
    "a path that is no percent": (404, request(b"GET /%zz%C3 HTTP/1.1", body=b"")),
    "a whole address": (400, request(b"GET http://localhost/ HTTP/1.1", body=b"")),
    "a star": (400, request(b"OPTIONS * HTTP/1.1", body=b"")),
    "an upgrade": (200, get(b"Connection: Upgrade", b"Upgrade: websocket")),
    # bodies
    "two lengths": (400, request(POST, b"Content-Length: 3")),
    "a negative length": (400, request(POST, b"Content-Length: -3", length=False)),
    "a length of many digits": (
        400,
        request(POST, b"Content-Length: " + b"9" * 500, length=False),
    ),
    "too long": (413, request(POST, b"Content-Length: 5368709120", length=False)),
    "a length and pieces": (400, request(POST, b"Transfer-Encoding: chunked")),
    "another coding": (400, request(POST, b"Transfer-Encoding: gzip, chunked", length=False)),
    "a piece without a number": (400, chunked(end=b"x\r\n")),
    "a piece of many digits": (400, chunked(end=b"f" * 40 + b"\r\n")),
    "a piece that is longer than said": (400, chunked(end=b"1\r\nab\r\n0\r\n\r\n")),
    "an endless extension": (431, chunked(VIDEO, end=b"1;" + b"a" * 2**19)),
    "endless trailers": (431, chunked(VIDEO, end=b"0\r\n" + b"A: a\r\n" * 2**17)),
    "tiny pieces": (400, chunked(*[VIDEO[:1]] * 2**18)),
    "pieces with much beside": (400, chunked(end=(b"1;" + b"a" * 2**15 + b"\r\nb\r\n") * 64)),
    # fields
    "top_k of many digits": (400, request(b"POST /predict?" + TOP + b"1" * 5000 + b" HTTP/1.1")),
    "top_k that is large behind zeros": (400, request(b"POST /predict?top_k=0000000001999 HTTP/1.1")),
    "top_k behind zeros": (200, request(b"POST /predict?" + TOP + b" HTTP/1.1")),
    "top_k of another script": (400, request(b"POST /predict?top_k=%D9%A3 HTTP/1.1")),
    "top_k of zero": (400, request(b"POST /predict?top_k=0 HTTP/1.1")),
    "top_k that is no text": (400, request(b"POST /predict?top_k=%FF%00 HTTP/1.1")),
    "top_k twice": (400, request(b"POST /predict?top_k=1&top_k=2 HTTP/1.1")),
    "top_k twice in a form": (400, with_fields(("top_k", None, b"1"), ("top_k", None, b"1"), ("video", "a", VIDEO))),
    "a name of control characters": (200, request(b"POST /predict?name=%00%1b%E2%80%AE HTTP/1.1")),
    # forms
    "no boundary": (400, of_form(b"multipart/form-data", b"--xyz--")),
    "an empty boundary": (400, of_form(b"multipart/form-data; boundary=", b"--xyz--")),
    "a long boundary": (400, of_form(b"multipart/form-data; boundary=" + b"a" * 5000, b"--a")),
    "a boundary of other letters": (400, of_form(b"multipart/form-data; boundary=\xff\xfe", b"--xyz--")),
    "no end": (400, of_form(FORM, b"--xyz\r\n" + DISPOSITION + b"\r\n\r\nabc")),
    "an empty form": (400, of_form(FORM, b"")),
    "a part without a head": (400, of_form(FORM, part(b""))),
    "a part without a name": (400, of_form(FORM, part(b"Content-Disposition: form-data"))),
    "a part with a long head": (400, of_form(FORM, part(DISPOSITION + b"\r\nA: " + b"a" * 2**17))),
    "a part with many heads": (400, of_form(FORM, part(DISPOSITION + b"\r\nA: a" * 2**12))),
    "a part with a bad head": (400, of_form(FORM, part(b"a b c"))),
    "a part with a NUL": (400, of_form(FORM, part(b"A\0: a"))),
    "many fields": (400, with_fields(*[(f"f{n}", None, b"1") for n in range(5000)])),
    "a long field": (400, with_fields(("top_k", None, b"1" * 2**17))),
    "another charset": (400, of_form(FORM + b"; charset=idna", part(b'Content-Disposition: form-data; name="\xff"'))),
    "a charset that is none": (400, of_form(FORM + b"; charset=undefined", part(DISPOSITION, VIDEO))),
    "a name that is no text": (200, of_form(FORM + b"; charset=utf-7", part(DISPOSITION + b"+2AA-", VIDEO))),
    "no video": (415, request(body=b"hello")),
}


def ask(port, sent, *, seconds=8):
    """The whole answer to these bytes; the client goes on sending until the server closes or is done."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as wire:
        sending = threading.Thread(target=send, args=(wire, sent), daemon=True)
        sending.start()
        with wire.makefile("rb") as answers:
            return read_answer(answers)


def send(wire, sent):
    with suppress(OSError):
        wire.sendall(sent)


def read_answer(answers):
    """(status, headers, body) of the next answer."""
    line = answers.readline()
    assert line, "there is no answer"
    headers = {}
    while (header := answers.readline().strip()) != b"":
        name, _, value = header.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    return int(line.split()[1]), headers, answers.read(int(headers.get("content-length", 0)))


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    with served(tmp_path_factory.mktemp("served"), connection=QUICK, limits={"idle_seconds": 1.0}) as (port, _, app):
        yield port
        assert app.uploads == 0


@pytest.mark.parametrize("name", REQUESTS)
def test_each_request_has_its_status(port, name, capfd):
    status, sent = REQUESTS[name]
    found, headers, body = ask(port, sent)
    assert found == status, body
    if status != 200:
        assert headers["content-type"] == "application/json"
        assert b"\n" not in body
        assert json.loads(body)["error"]
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("name", ["another host", "another page's form", "a video under another name"])
def test_a_server_without_names_is_noticed(tmp_path, name):
    """The broken twin: it answers everybody."""

    class Everything(AllowedHosts):
        def refusal(self, headers, **_):
            return None

    with served(tmp_path, allowed=Everything()) as (port, _, _):
        assert ask(port, REQUESTS[name][1])[0] == 200


def test_names_that_a_server_has():
    here = allowed_hosts("0.0.0.0", ["Video.example"])  # noqa: S104 - nothing is opened
    for name in ("localhost", "127.0.0.1:80", "[::1]", "video.example.:8000", *names_here()):
        assert here.refusal({"host": name, "origin": f"http://{name}"}, method="POST") is None, name
    found = here.refusal({"host": "other.example"}, method="GET")
    assert found is not None
    assert "Video.example" in found.reason
    private = allowed_hosts("127.0.0.1", [])
    assert private.refusal({"host": names_here()[0]}, method="GET") is not None
    assert private.refusal({"host": "192.0.2.7"}, method="GET", local_address="192.0.2.7") is None
    assert private.refusal({"host": "[2001:db8::1]:80"}, method="GET", local_address="2001:db8::1") is None


@contextmanager
def opened(port, sent):
    with socket.create_connection(("127.0.0.1", port), timeout=8) as wire, wire.makefile("rb") as answers:
        wire.sendall(sent)
        yield wire, answers


def test_headers_that_come_slowly_are_not_waited_for(port):
    begin = time.monotonic()
    with opened(port, b"GET / HTTP/1.1\r\n") as (wire, answers):
        drip(wire, b"A: a\r\n")
        status, _, body = read_answer(answers)
        assert (status, json.loads(body)) == (408, {"error": "the headers did not come within 0.4 s"})
    with opened(port, b"") as (_, answers):  # nor is a client that sends nothing
        assert answers.read() == b""
    with opened(port, get()) as (wire, answers):  # nor one that begins a second request
        assert read_answer(answers)[0] == 200
        drip(wire, b"GET")
        assert read_answer(answers)[0] == 408
    assert time.monotonic() - begin < 5


def drip(wire, piece, count=12):
    """Pieces that come often enough for a limit of the time between two."""
    for _ in range(count):
        try:
            wire.sendall(piece)
        except OSError:
            return
        time.sleep(0.05)


@pytest.mark.parametrize(("seconds", "is_whole"), [(0.4, False), (60.0, True)])
def test_an_answer_that_nobody_reads_is_given_up(tmp_path, seconds, is_whole):
    """With a long limit, the broken twin, the server keeps it."""
    limits = ConnectionLimits(write_seconds=seconds)
    with served(tmp_path, connection=limits, page="x" * 2**25) as (port, _, _), opened(port, get()) as (wire, _):
        time.sleep(1.0)
        found = 0
        with suppress(ConnectionResetError):
            while found < 2**25 and (data := wire.recv(2**20)):
                found += len(data)
        assert (found >= 2**25) is is_whole


SLOW = {"idle_seconds": 5.0, "seconds": 60.0, "grace_seconds": 0.3, "least_rate": 2000.0}
LIMITS = {
    "a byte from time to time": ({}, 408, "the upload is too slow"),
    "a whole upload": ({"seconds": 0.3, "least_rate": 0.001}, 408, "the upload took longer than 0.3 s"),
    "nothing": ({"idle_seconds": 0.02}, 408, "nothing came for 0.02 s"),
}


@pytest.mark.parametrize("name", LIMITS)
def test_slow_uploads_end(tmp_path, name):
    changes, status, reason = LIMITS[name]
    with served(tmp_path, limits={**SLOW, **changes}) as (port, asked, _):
        head = b"POST /predict HTTP/1.1\r\n" + PLACE + b"Content-Length: 100000\r\n\r\n"
        with opened(port, head) as (wire, answers):
            drip(wire, b"a", count=10)
            found, _, body = read_answer(answers)
        assert (found, asked) == (status, [])
        assert reason in json.loads(body)["error"]
    assert left(tmp_path) == []


def test_slow_uploads_do_not_lock_others_out(tmp_path):
    """Both are slow: one for ever, which the broken twin would wait for; one within the limit, which is answered."""
    slow = b"POST /predict HTTP/1.1\r\n" + PLACE + b"Content-Length: %d\r\n\r\n" % len(VIDEO)
    with served(tmp_path, limits=SLOW, max_uploads=2) as (port, _, app):
        with opened(port, slow) as (first, one), opened(port, slow) as (second, other):
            threads = [threading.Thread(target=drip, args=(first, b"a", 40))]
            threads.append(threading.Thread(target=drip, args=(second, VIDEO[:300], 10)))
            threads.append(threading.Thread(target=lambda: (time.sleep(0.55), send(second, VIDEO[3000:]))))
            for thread in threads:
                thread.start()
            while app.uploads < 2:
                time.sleep(0.01)
            assert ask(port, request())[0] == 503
            found, headers, body = ask(port, request(b"GET /health HTTP/1.1", body=b""))
            expected = {"status": "busy", "uploads": 2, "max_uploads": 2, "model": "m"}
            assert (found, headers["retry-after"], json.loads(body)) == (503, "5", expected)
            assert read_answer(one)[0] == 408
            assert read_answer(other)[0] in (200, 415)
            for thread in threads:
                thread.join()
        assert ask(port, request())[0] == 200
        assert app.uploads == 0


def test_an_upload_that_is_fast_enough_may_take_longer_than_the_grace(tmp_path):
    body = VIDEO + bytes(7000)
    head = b"POST /predict HTTP/1.1\r\n" + PLACE + b"Content-Length: %d\r\n\r\n" % len(body)
    with served(tmp_path, limits=SLOW) as (port, _, _), opened(port, head) as (wire, answers):
        for place in range(0, len(body), 1000):
            wire.sendall(body[place : place + 1000])
            time.sleep(0.1)
        assert read_answer(answers)[0] == 200


def test_a_fault_of_ours_is_said_without_its_traceback(tmp_path, capfd):
    async def broken(question):
        raise KeyError("a secret")

    with served(tmp_path, broken) as (port, _, app):
        status, headers, body = ask(port, request())
        assert (status, headers["content-type"]) == (500, "application/json")
        assert b"secret" not in body
        assert app.uploads == 0
    assert "KeyError" in capfd.readouterr().err


def test_many_pipelined_requests_are_answered_in_order(port):
    with opened(port, get() * 3 + request() + get()) as (_, answers):
        assert [read_answer(answers)[0] for _ in range(5)] == [200] * 5


def test_requests_by_an_ordinary_client_still_work(port):
    assert post(port)[0].status == 200
