"""A PostgreSQL server of the test's own: a folder that goes with it, a port of loopback, a user with a password.

PostgreSQL refuses to run as root, so root runs it as the user `postgres` or `nobody`. It is Debian's package
`postgresql`; where it or the driver is missing, tests are skipped.
"""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

USER = "side"


def _programs():
    """The folder with `initdb` and `pg_ctl`, newest version first; None without one."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name.partition(".")[0]))
    on_path = shutil.which("pg_ctl")
    found += [Path(on_path).parent] if on_path else []
    return next((each for each in found if (each / "initdb").exists() and (each / "pg_ctl").exists()), None)


def _unprivileged():
    """The user that the server runs as, if this process is root's; None if there is no such user."""
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names.get("nobody")


def missing():
    """Why no server can be started here; empty if one can."""
    if _programs() is None:
        return "no PostgreSQL here (Debian's package `postgresql`)"
    if os.geteuid() == 0 and (_unprivileged() is None or shutil.which("setpriv") is None):
        return "PostgreSQL does not run as root, and there is no other user to run it"
    return "" if find_spec("psycopg") else "no psycopg here (the extra `postgresql`)"


class PostgresServer:
    """A server with one user; `create` makes databases."""

    def __init__(self, folder, *, password="", settings=()):
        self.folder, self.password = Path(folder), password or secrets.token_hex(12)
        self.settings = ("listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}", *settings)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def initialize(self):
        word = self.folder / "word"
        word.write_text(self.password)
        if os.geteuid() == 0:
            user = _unprivileged()
            for path in (self.folder, word):
                os.chown(path, user.pw_uid, user.pw_gid)
        options = ["--auth=scram-sha-256", f"--username={USER}", f"--pwfile={word}", "--encoding=UTF8", "--locale=C"]
        self._call("initdb", "--no-sync", *options, "-D", str(self.folder / "data"))
        word.unlink()

    def start(self):
        options = " ".join(["-p", str(self.port), *(f"-c {setting}" for setting in self.settings)])
        where = ["-D", str(self.folder / "data"), "-l", str(self.folder / "log")]
        self._call("pg_ctl", "start", "-w", "-t", "60", *where, "-o", options)

    def stop(self, mode="immediate"):
        self._call("pg_ctl", "stop", "-w", "-m", mode, "-D", str(self.folder / "data"))

    def _call(self, program, *arguments):
        command = [str(_programs() / program), *arguments]
        if os.geteuid() == 0:
            user = _unprivileged()
            command = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *command]
        output = self.folder / f"{program}.out"  # not a pipe: the server would keep it open
        with output.open("wb") as stream:
            code = subprocess.run(command, stdout=stream, stderr=stream, cwd=self.folder, check=False).returncode
        assert code == 0, output.read_text()

    def connect(self, database="postgres"):
        """A connection that commits each statement."""
        import psycopg

        known = {"host": "127.0.0.1", "port": self.port, "user": USER, "password": self.password}
        return psycopg.connect(dbname=database, autocommit=True, **known)

    def create(self, database):
        """Make an empty database; returns its address, with the password."""
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.uri(database)

    def uri(self, database, *, password=True):
        word = f":{self.password}" if password else ""
        return f"postgresql://{USER}{word}@127.0.0.1:{self.port}/{database}"


@contextmanager
def postgres_server(*, password="", settings=("fsync=off",)):
    """A running server; it ends with the block, and its folder is removed.

    Without `fsync` a server that is killed still keeps all it said it had: only a machine that dies loses it.
    """
    folder = tempfile.mkdtemp(prefix="side4video-postgres-")  # pytest's own folders are closed to other users
    server = PostgresServer(folder, password=password, settings=settings)
    try:
        server.initialize()
        server.start()
        yield server
    finally:
        if (server.folder / "data" / "postmaster.pid").exists():
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
