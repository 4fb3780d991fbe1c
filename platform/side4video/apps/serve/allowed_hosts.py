"""Which requests a server answers, by the names under which it is called and the page that sends them.

A server on loopback is open to every page that a browser on this machine shows. Such a page reaches it in two ways: it
sends a form to another site, or its own name is made to lead to this machine. A browser says the page's address in
`Origin` and the name it looked up in `Host`. Programs such as curl send no `Origin`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from side4video.core.network import is_localhost, names_here

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\[\]:/?#@\s]+)(?::[0-9]{0,5})?", re.ASCII)


@dataclass(frozen=True)
class Refusal:
    """A request that is not answered: the status, and why."""

    status: int
    reason: str


@dataclass(frozen=True)
class AllowedHosts:
    """The names under which a server may be called, with any port; those of loopback always."""

    names: tuple[str, ...] = ()
    """Further ones."""
    _known: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_known", frozenset(map(_plain, self.names)))

    def refusal(self, headers: Mapping[str, str], *, method: str, local_address: str = "") -> Refusal | None:
        """Why a request is not answered; None if it is.

        `headers` have names in lower case. `local_address` is this machine's end of the connection, a name that no
        other page can have. HTTP/1.1 without `Host` never comes here: the server refuses it with 400.
        """
        host = headers.get("host")
        if host is not None and not self._is_allowed(host, local_address):
            reason = f"this server is not called {host[:100]!r}; allowed: {', '.join(self._shown())}"
            return Refusal(421, f"{reason}; `--allowed-host` allows another name")
        origin = headers.get("origin")
        if origin is not None and not self._is_own_page(origin, host or "", local_address):
            return Refusal(403, f"requests of other sites are refused: {origin[:100]!r}")
        is_foreign = headers.get("sec-fetch-site", "").strip().lower() == "cross-site"
        if is_foreign and method not in ("GET", "HEAD"):
            return Refusal(403, "requests of other sites are refused")
        return None

    def _is_allowed(self, host: str, local_address: str) -> bool:
        found = _HOST.fullmatch(host.strip().lower())
        name = _plain(found["name"]) if found else ""
        return bool(name) and (is_localhost(name) or name in self._known or name == _plain(local_address))

    def _is_own_page(self, origin: str, host: str, local_address: str) -> bool:
        try:
            parts = urlsplit(origin.strip())
        except ValueError:
            return False
        if parts.scheme not in ("http", "https") or parts.path or parts.query or parts.fragment:
            return False
        is_same = bool(parts.netloc) and parts.netloc.lower() == host.strip().lower()
        return is_same or self._is_allowed(parts.netloc, local_address)

    def _shown(self) -> list[str]:
        return ["localhost", "127.0.0.1", "[::1]", *(f"[{name}]" if ":" in name else name for name in self.names)]


def allowed_hosts(listens_on: str, further: Sequence[str]) -> AllowedHosts:
    """The names of a server that listens on this address: this machine's if others can reach it, and further ones."""
    own = [] if is_localhost(listens_on) else [listens_on, *names_here()]
    wildcards = ("0.0.0.0", "::", "")  # noqa: S104 - compared, not bound
    return AllowedHosts(tuple(dict.fromkeys(name for name in [*further, *own] if name not in wildcards)))


def _plain(name: str) -> str:
    """A name as it is compared: without brackets, and without the dot that may end a complete name."""
    return name.lower().removeprefix("[").removesuffix("]").removesuffix(".").removeprefix("::ffff:")
