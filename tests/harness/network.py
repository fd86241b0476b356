"""A wall around unit tests: nothing beyond this machine is reached, and a try fails the test.

A try is remembered as well as refused, because code that answers every failed connection with a
fallback would hide it.
"""

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class NetworkUsed(BaseException):
    """Not an Exception, so that nothing under test takes it for an ordinary failed connection."""


@contextmanager
def loopback_only(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within this, connecting or looking up a name beyond loopback raises and fails the test."""
    tried: list[str] = []
    connect, connect_ex, getaddrinfo = (
        socket.socket.connect,
        socket.socket.connect_ex,
        socket.getaddrinfo,
    )

    def check(host: Any) -> None:
        if not _local(host):
            tried.append(str(host))
            raise NetworkUsed(f"a unit test tried to reach {host}")

    def checked_connect(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            check(address[0])
        connect(self, address)

    def checked_connect_ex(self: socket.socket, address: Any) -> int:
        if self.family != socket.AF_UNIX:
            check(address[0])
        return connect_ex(self, address)

    def checked_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        check(host)
        return getaddrinfo(host, *args, **kwargs)

    patch.setattr(socket.socket, "connect", checked_connect)
    patch.setattr(socket.socket, "connect_ex", checked_connect_ex)
    patch.setattr(socket, "getaddrinfo", checked_getaddrinfo)
    yield
    if tried:
        pytest.fail(f"a unit test tried to reach {', '.join(tried)}")


def _local(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
