"""Where a judge is, as the user wrote it: seen to be a place, and shown without what may be secret."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from evalsuite.errors import ConfigError
from evalsuite.judge.secret import HIDDEN

LOCAL_PREFIX = "local:"
KEY_VARIABLE = "EVALSUITE_JUDGE_API_KEY"
_HOST_AND_PORT = re.compile(r"(?:\[[^\[\]]+\]|[^:\[\]]+)(?::\d*)?")
_EXPECTED = "judge: expected http://host:port/v1 or local:MODEL, got"


def check_where(where: str) -> None:
    """Raises `ConfigError` for what is no place of a judge. The message repeats no user, password or query."""
    if not isinstance(where, str):
        raise ConfigError(f"{_EXPECTED} {where!r:.80}")
    if where.startswith(LOCAL_PREFIX) and where != LOCAL_PREFIX:
        return
    if "@" in where:
        raise ConfigError(
            f"judge: expected an address without a user, got {shown(where)!r}; give the key by {KEY_VARIABLE}"
        )
    if "?" in where or "#" in where:
        raise ConfigError(f"{_EXPECTED} {shown(where)!r}; leave out what follows, and give the key by {KEY_VARIABLE}")
    if not where.isprintable() or " " in where or not where.lower().startswith(("http://", "https://")):
        raise ConfigError(f"{_EXPECTED} {where!r}")
    try:
        url = urlsplit(where)
        port = url.port
        host = (url.hostname or "").encode("idna")
    except ValueError:  # a bracket left open, a port that is no number or too large, an empty or overlong label
        raise ConfigError(f"{_EXPECTED} {where!r}, whose host or port is none") from None
    if not host or port == 0 or not _HOST_AND_PORT.fullmatch(url.netloc):
        raise ConfigError(f"{_EXPECTED} {where!r}, whose host or port is none")


def shown(where: str) -> str:
    """An address without what may hold a key: the user and all that follows a `?` or `#`."""
    cut = min((place for sign in "?#" if (place := where.find(sign)) >= 0), default=None)
    if "@" not in where:
        return where if cut is None else where[: cut + 1] + HIDDEN
    # A password may hold a ? itself, and then nothing tells where it ends.
    return HIDDEN if cut is not None else f"{HIDDEN}@{where.rpartition('@')[2]}"


def is_private(base_url: str) -> bool:
    """Whether no third party can read what is sent there: it is encrypted, or never leaves this machine."""
    url = urlsplit(base_url)
    host = url.hostname or ""
    if url.scheme == "https" or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
