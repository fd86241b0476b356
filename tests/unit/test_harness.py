"""The wall around unit tests holds, and both databases are really there."""

import asyncio
import socket

import pytest
from sqlalchemy import text

from tests.harness.network import NetworkUsed, loopback_only
from tron.storage.store import Store


async def test_the_network_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    wall = loopback_only(monkeypatch)
    wall.__enter__()
    with pytest.raises(NetworkUsed):
        await asyncio.open_connection("192.0.2.1", 80)
    with pytest.raises(NetworkUsed):
        socket.create_connection(("example.com", 80))
    with pytest.raises(pytest.fail.Exception, match=r"192\.0\.2\.1, example\.com"):
        wall.__exit__(None, None, None)


async def test_loopback_is_within_reach() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.close()


async def test_the_store_is_migrated(store: Store) -> None:
    async with store.read() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM messages"))).scalar() == 0
