"""A Hugging Face hub on loopback, as far as an upload needs one: repositories and their files, in memory."""

import base64
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_good"


@dataclass
class FakeHub:
    """What was asked of it, and what it holds."""

    address: str = ""
    private: dict[str, bool] = field(default_factory=dict)
    """By repository."""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    refuses: int = 0
    """A status that it answers to everything that writes; 0 for none."""


@contextmanager
def fake_hub():
    """A hub that runs for the time of the block."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def answer(self, status, document, **headers):
            content = json.dumps(document).encode()
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(content)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def body(self):
            if self.headers.get("Transfer-Encoding") == "chunked":
                content = b""
                while size := int(self.rfile.readline(), 16):
                    content += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return content
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def do_GET(self):
            hub.asked.append(f"GET {self.path}")
            name = self.path.partition("/api/models/")[2].partition("?")[0].partition("/revision")[0]
            if name not in hub.private:
                self.answer(404, {"error": "Repository not found"}, **{"X-Error-Code": "RepoNotFound"})
                return
            self.answer(200, {"id": name, "private": hub.private[name], "sha": "0" * 40, "siblings": [], "tags": []})

        def do_POST(self):
            hub.asked.append(f"POST {self.path}")
            content = self.body()
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.answer(401, {"error": "Invalid credentials in Authorization header"})
            elif hub.refuses:
                self.answer(hub.refuses, {"error": "it does not want to"})
            elif self.path == "/api/repos/create":
                self.create(json.loads(content))
            elif self.path == "/api/validate-yaml":
                self.answer(200, {"errors": [], "warnings": []})
            elif "/preupload/" in self.path:
                files = json.loads(content)["files"]
                modes = [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in files]
                self.answer(200, {"files": modes})
            elif "/commit/" in self.path:
                self.commit([json.loads(line) for line in content.splitlines() if line])
            else:
                self.answer(404, {"error": f"nobody asked for {self.path}"})

        def create(self, asked):
            name = f"{asked.get('organization') or 'somebody'}/{asked['name']}"
            if name in hub.private:
                self.answer(409, {"error": "it is there", "url": f"{hub.address}/{name}"})
                return
            hub.private[name] = asked.get("private", asked.get("visibility") == "private")
            self.answer(200, {"url": f"{hub.address}/{name}"})

        def commit(self, lines):
            name = self.path.partition("/api/models/")[2].partition("/commit")[0]
            held = hub.files.setdefault(name, {})
            for line in lines:
                if line["key"] == "file":
                    held[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer(200, {"commitUrl": f"{hub.address}/{name}/commit/1", "commitOid": "1" * 40, "success": True})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
