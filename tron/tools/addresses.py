"""Which addresses of the internet a persona may have fetched: public ones, and no way around that.

A name is looked up once and the connection goes to the very address that was looked at, so a name
that changes its mind in between gains nothing. Forms that hold another address inside (mapped,
6to4, NAT64, Teredo) are refused whatever is inside. A host that the operator has listed is let
through as it is.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

from tron.tools.contract import ToolFailed

URL_CHARS = 2_000
PORTS = (80, 443)
"""besides these, only those from 1024 on: the others belong to services that are no web servers"""

_EMBEDDING = [
    ipaddress.IPv6Network(network)
    for network in (
        "::/96",  # IPv4-compatible
        "::ffff:0:0/96",  # IPv4-mapped
        "::ffff:0:0:0/96",  # IPv4-translated
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64, local
        "2001::/23",  # Teredo and other protocols' own
        "2002::/16",  # 6to4
        "2001:db8::/32",  # for documents
        "3fff::/20",
        "fec0::/10",  # site-local of old
    )
]
_OF_PROTOCOLS = [ipaddress.IPv4Network(network) for network in ("192.0.0.0/24", "192.88.99.0/24")]
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")


def public(address: str) -> bool:
    """Whether `address` (an IP address) is one that anybody on the internet may be told to use."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.scope_id is not None or ip not in _GLOBAL_UNICAST:
            return False
        if any(ip in network for network in _EMBEDDING):
            return False
    elif any(ip in network for network in _OF_PROTOCOLS):
        return False
    never = ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_multicast
    return ip.is_global and not (never or ip.is_reserved or ip.is_unspecified)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def listed(text: str) -> frozenset[str]:
    """Hosts of a setting: `intranet.example, 127.0.0.1:8080`."""
    return frozenset(part.strip().lower() for part in text.split(",") if part.strip())


def checked(url: str, allowed: Iterable[str]) -> tuple[SplitResult, bool]:
    """The parts of an address that may be fetched, and whether its host is one of `allowed`.

    Raises ToolFailed. The host is still to be looked up.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise ToolFailed("That is no address of a page.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ToolFailed("Only addresses that begin with http:// or https:// can be fetched.")
    if len(url) > URL_CHARS or any(c.isspace() or not c.isprintable() for c in url.strip()):
        raise ToolFailed("That is no address of a page.")
    if "@" in parts.netloc:
        raise ToolFailed("An address with a user name or password in it is not fetched.")
    last = parts.hostname.rstrip(".").rpartition(".")[2]
    if (last.isdecimal() or last.startswith("0x")) and not _is_address(parts.hostname):
        raise ToolFailed(f"{parts.hostname} is no host, so it is not fetched.")
    exact = port if port is not None else 443 if parts.scheme == "https" else 80
    known = parts.hostname in allowed or f"{parts.hostname}:{exact}" in allowed
    if not known and exact not in PORTS and exact < 1024:
        raise ToolFailed(f"Port {exact} is not one that web pages are fetched from.")
    return parts, known


class Checked(AbstractResolver):
    """Looks hosts up for one request, once each, and refuses those that are not public."""

    def __init__(self, *, any_address: bool) -> None:
        self._any = any_address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises ToolFailed: for one forbidden address among several too."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                host, port, family=family, type=socket.SOCK_STREAM
            )
        except (OSError, UnicodeError):
            raise ToolFailed(f"There is no host named {host}.") from None
        results: list[ResolveResult] = []
        for kind, _, protocol, _, address in found:
            ip = str(address[0])
            self.check(host, ip)
            results.append(
                ResolveResult(
                    hostname=host,
                    host=ip,
                    port=port,
                    family=kind,
                    proto=protocol,
                    flags=socket.AI_NUMERICHOST,
                )
            )
        return results

    def check(self, host: str, ip: str) -> None:
        if not (self._any or public(ip)):
            raise ToolFailed(f"{host} is not on the public internet, so it is not fetched.")

    def opened(self, found: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        """A socket for a connection that is about to be made: also where nothing was looked up,
        because the address was written as numbers."""
        kind, type_, protocol, _, address = found
        self.check(str(address[0]), str(address[0]))
        made = socket.socket(kind, type_, protocol)
        made.setblocking(False)
        return made

    async def close(self) -> None:
        pass
