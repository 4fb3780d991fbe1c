"""Looks whether a cluster answers at an address, before Ray waits for it: Ray itself tries for minutes."""

import socket
import sys

from side4video.core.errors import InputError

CONNECT_SECONDS = 15.0
"""How long a head may take to answer."""
FORMS = "local, auto, HOST:PORT, ray://HOST:PORT"
_CLIENT = "ray://"


def check_address(address: str) -> None:
    """Check that an address has a form that Ray knows, that its name is known, and that something answers there.

    Raises:
        InputError: One of them is not so.
    """
    if address in ("local", "auto") or _is_connected():
        return
    where = f"Ray at {address}"
    place = address.removeprefix(_CLIENT)
    if place.startswith(("http://", "https://")):
        fix = "give the address of the head, such as HOST:6379; `side4video submit` takes that of the dashboard"
        raise InputError(where, "it is the address of a page", allowed=FORMS, fix=fix)
    if "://" in place:
        return  # of a library that extends Ray
    host, _, port = place.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        fix = f"add the port, such as {place or 'HOST'}:6379" if ":" not in place else "check the address"
        raise InputError(where, "no host and port", allowed=FORMS, fix=fix)
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (socket.gaierror, UnicodeError) as error:
        fix = "check the spelling, and that this machine knows the name"
        raise InputError(where, f"no machine is known by the name {host}", allowed=FORMS, fix=fix) from error
    except OSError as error:
        fix = "check that the head runs (`ray status` there), and that nothing between the machines blocks the port"
        said = error.strerror or "no answer"
        raise InputError(where, f"cannot connect: {said.lower()}", allowed=FORMS, fix=fix) from error


def _is_connected() -> bool:
    """Whether this process is connected to a cluster already, which is used then."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()
