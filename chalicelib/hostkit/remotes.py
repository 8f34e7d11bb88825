"""A repository's address: which forms are taken, and which machines may be asked. The same rules for submodules.

Git itself would follow a word such as `ext::sh -c …` or `file:///etc`; a host stands in a network that customers must
not reach into. So an address is read here, by an allow-list, before git sees it, and a name is resolved here, so that
the address that was judged is the one git connects to.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import NamedTuple, Union

LONGEST = 2000
PORTS = {"https": 443, "http": 80, "ssh": 22}
HIGHEST_PORT = 65535
Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]  # noqa: UP007 - as below
Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]  # noqa: UP007 - python 3.9 evaluates this line

# Metadata services of clouds, some at addresses that are otherwise anybody's; no setting opens these.
_NEVER = [
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "169.254.0.0/16",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "192.0.0.192/32",
        "224.0.0.0/3",
        "::/128",
        "fe80::/10",
        "fd00:ec2::254/128",
        "ff00::/8",
    )
]
_NAT64, _SIX_TO_FOUR = ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("2002::/16")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<place>[^/]*)(?P<path>/.*)?")
_PLACE = re.compile(r"(?:(?P<user>[^@]*)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^:@\[\]]*)(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
# What `git clone` takes without a scheme: user@host:path. Without the user it could be a helper's name or a folder.
_SHORT = re.compile(r"(?P<user>[A-Za-z0-9_][A-Za-z0-9._-]*)@(?P<host>[A-Za-z0-9.-]+):(?P<path>[^:/].*)", re.ASCII)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", re.ASCII)
_NAME = re.compile(r"(?=.{1,253}\Z)([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.?)+", re.ASCII)
_PATH = re.compile(r"[A-Za-z0-9._~!$&()*+,;=:@%/ -]+", re.ASCII)
_LOCAL = re.compile(r"(.*\.)?(localhost|local|internal|localdomain)\.?", re.IGNORECASE)


class Remote(NamedTuple):
    """Where a repository is; `url` is what git is given."""

    url: str
    scheme: str
    host: str
    port: int
    path: str


class NotAllowed(ValueError):
    """The address is not one that is taken; the message says why, to whoever wrote it."""


def read(url: str) -> Remote:
    """Raise `NotAllowed` for whatever is not plainly an https, http or ssh address."""
    if not url or len(url) > LONGEST or not url.isprintable() or url != url.strip():
        raise NotAllowed("write an address such as https://github.com/user/repo.git, without spaces around it")
    if url.startswith("-"):
        raise NotAllowed("an address does not begin with -; options are not taken")
    short = _SHORT.fullmatch(url)
    if short and "://" not in url:
        return _checked(url, "ssh", short["user"], short["host"], None, "/" + short["path"])
    long = _URL.fullmatch(url)
    if long is None or long["scheme"].lower() not in PORTS:
        raise NotAllowed("only https:// and ssh:// addresses are taken, and user@host:path")
    place = _PLACE.fullmatch(long["place"])
    if place is None:
        raise NotAllowed("the part between // and the path is not [user@]host[:port]")
    scheme = long["scheme"].lower()
    if place["user"] is not None and (scheme != "ssh" or ":" in place["user"]):
        raise NotAllowed("the address holds credentials; give them as git_token or git_deploy_key instead")
    return _checked(url, scheme, place["user"], place["host"], place["port"], long["path"] or "/")


def _checked(url: str, scheme: str, user: str | None, host: str, port: str | None, path: str) -> Remote:
    if user is not None and not _USER.fullmatch(user):
        raise NotAllowed("the user is not one that ssh knows: letters, digits, . _ and -")
    if path.strip("/") == "" or not _PATH.fullmatch(path) or path.lstrip("/").startswith("-"):
        raise NotAllowed("the path names no repository; ? # and quotes are not taken")
    if ".." in path.split("/"):
        raise NotAllowed("the path holds ..; write it plainly")
    number = int(port) if port else PORTS[scheme]
    if not 0 < number <= HIGHEST_PORT:
        raise NotAllowed(f"the port is not one from 1 to {HIGHEST_PORT}")
    return Remote(url, scheme, _host(host), number, path)


def _host(text: str) -> str:
    bare = text[1:-1] if text.startswith("[") else text
    if literal(bare):
        return bare
    if not _NAME.fullmatch(bare) or bare.rstrip(".").rpartition(".")[2].isdigit() or bare.lower().startswith("0x"):
        raise NotAllowed("the host is neither a name nor an address")
    return bare.lower()


def literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def relative(url: str, parent: str) -> str:
    """A submodule's address that begins with ./ or ../, as git reads it: beside its parent's."""
    if not url.startswith(("./", "../")):
        return url
    base, rest = parent.rstrip("/"), url
    while rest.startswith(("./", "../")):
        if rest.startswith("../"):
            cut = max(base.rfind("/"), base.rfind(":"))
            if cut <= base.find("://") + 2:
                raise NotAllowed("a relative address leads out of its host")
            base = base[:cut] + (":" if base[cut] == ":" else "")
        rest = rest.partition("/")[2]
    return base + rest if base.endswith(":") else f"{base}/{rest}"


def refusal(remote: Remote, networks: Iterable[str]) -> str | None:
    """Why this host is not asked, as far as its name tells; None if only its addresses can."""
    allowed = _networks(networks)
    address = literal(remote.host)
    if address is not None:
        return address_refusal(remote.scheme, address, allowed)
    if _LOCAL.fullmatch(remote.host) and not allowed:
        return "its host is a local name"
    return None if remote.scheme != "http" or allowed else "http:// is not encrypted; use https://"


def address_refusal(scheme: str, address: Address, allowed: Iterable[Network]) -> str | None:
    """Why this address is not asked. `allowed` are the networks that the operator opened; http goes to them alone."""
    address = _embedded(address)
    if any(address in network for network in _NEVER):
        return "its host is a link-local, metadata or multicast address"
    if any(address in network for network in allowed):
        return None
    if not address.is_global:
        return "its host is a private or loopback address, in no network that the operator allows"
    return "http:// is not encrypted; use https://" if scheme == "http" else None


def judged(remote: Remote, networks: Iterable[str]) -> str:
    """The address to connect to. Raise `NotAllowed` if one of the name's is not allowed, `OSError` if it has none."""
    allowed = _networks(networks)
    why = refusal(remote, networks)
    if why:
        raise NotAllowed(why)
    found = [str(entry[4][0]) for entry in socket.getaddrinfo(remote.host, remote.port, type=socket.SOCK_STREAM)]
    for text in found:
        why = address_refusal(remote.scheme, ipaddress.ip_address(text.partition("%")[0]), allowed)
        if why:
            raise NotAllowed(why)
    return found[0]


def _networks(texts: Iterable[str]) -> list[Network]:
    return [ipaddress.ip_network(text, strict=False) for text in texts]


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _SIX_TO_FOUR:
        return ipaddress.IPv4Address(int(address) >> 80 & 0xFFFFFFFF)
    return address
