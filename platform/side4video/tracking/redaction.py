"""Removes secrets from parameters, tags and artifacts.

Hidden are: text under names of secrets, user and password of a URI, signatures and tokens in a URI's query, and strings
that look like well-known access keys. Numbers, booleans and names of model tokens (`class_token`) are kept.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

HIDDEN = "[hidden]"
"""Replaces a secret."""

_SECRET_WORDS = {"password", "passwd", "passphrase", "pwd", "secret", "secrets", "credential", "credentials", "apikey"}
_KEY_OWNERS = {"access", "api", "auth", "encryption", "private", "secret", "ssh", "signing"}
_TOKENS_OF_MODELS = {"class", "cls", "image", "mask", "pad", "patch", "register", "shifted", "side", "text", "video"}

_USER_INFO = re.compile(r"(?<=://)[^/\s@'\"]+(?=@)")
_DATABASE_USER_INFO = re.compile(r"((?:postgresql|mysql|mssql)(?:\+\w+)?://)[^\s?]+(?=@)")
"""Of a database, whose password may hold a `/`, a quote or an `@` that nobody escaped."""
_QUERY = re.compile(
    r"(?i)([?&;](?:[a-z0-9_\-]*(?:token|signature|password|secret|credential)|sig|api_?key|access_?key)=)[^&\s'\"]+"
)
_SHAPES = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|glpat-[\w\-]{20,}|sk-[\w\-]{20,}|A[KS]IA[A-Z0-9]{16})\b"
)

_NAMED = re.compile(
    r"""(?P<name>[A-Za-z_][\w.\-]*)["']?[ \t]*[=:][ \t]*"""  # NAME=, "name": and name:
    r"""|(?<!\S)--?(?P<option>[A-Za-z][\w\-]*)[ \t]+(?!-)"""  # --name and a word
)
_VALUE = re.compile(r"""'[^']*'|"[^"]*"|[^\s'",}\]]+""")


def is_secret_name(name: str) -> bool:
    """Whether the last part of a dotted name is a name for secrets."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.rsplit(".", 1)[-1])
    words = [word for word in re.split(r"[^a-z0-9]+", spaced.lower()) if word]
    if not words:
        return False
    before = words[-2] if len(words) > 1 else ""
    return (
        bool(_SECRET_WORDS & set(words))
        or (words[-1] == "token" and before not in _TOKENS_OF_MODELS)
        or (words[-1] == "key" and before in _KEY_OWNERS)
    )


def redact_text(text: str) -> str:
    """The text without passwords in URIs, signed queries and well-known access keys."""
    shown = _USER_INFO.sub(HIDDEN, _DATABASE_USER_INFO.sub(rf"\g<1>{HIDDEN}", text))
    return _SHAPES.sub(HIDDEN, _QUERY.sub(rf"\g<1>{HIDDEN}", shown))


def redact_command(text: str) -> str:
    """A command line without secrets: those of `redact_text`, and values of names for secrets.

    So `--set tracking.password=x`, `HF_TOKEN=x`, `--api-key x` and `{"password": "x"}` lose their values.
    """
    pieces, end = [], 0
    for named in _NAMED.finditer(text):
        value = _VALUE.match(text, named.end())
        if named.start() < end or value is None or not is_secret_name(named["name"] or named["option"]):
            continue
        pieces += [text[end : value.start()], HIDDEN]
        end = value.end()
    return redact_text("".join([*pieces, text[end:]]))


def redact(document: Any, name: str = "") -> Any:
    """A copy of a JSON-like document (mappings, sequences, scalars) with every secret hidden.

    `name` is the key of a part of the document.
    """
    if isinstance(document, Mapping):
        # Everything below a name for secrets is hidden.
        hides_all = is_secret_name(name)
        return {key: redact(value, name if hides_all else str(key)) for key, value in document.items()}
    if isinstance(document, Sequence) and not isinstance(document, str | bytes):
        return [redact(value, name) for value in document]
    if not isinstance(document, str) or not document:
        return document
    return HIDDEN if is_secret_name(name) else redact_text(document)
