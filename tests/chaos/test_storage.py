"""A disk that fills up and a program that is shot: what was committed is there, the rest said."""

import asyncio
import subprocess
import sys

from sqlalchemy import select

from tron.storage.store import Store
from tron.storage.tables import journal

PRELUDE = """
import asyncio, resource, signal, sys
from sqlalchemy import insert
from tron.errors import StorageUnavailable
from tron.storage.store import Store
from tron.storage.tables import journal

def note(text):
    row = dict(client_id="house", agent="tony", kind="note", text=text, created_at=0)
    return lambda conn: conn.execute(insert(journal), row) and None
"""

FILL = """
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the kernel answers EFBIG, like a full disk
    store = await Store.open(sys.argv[1])
    written = 0
    limit(1_000_000)
    try:
        while written < 1000:
            await store.write(note("x" * 10_000))
            written += 1
    except StorageUnavailable as error:
        print("full:", error.message)
    async with store.read():
        pass
    limit(resource.RLIM_INFINITY)
    await store.write(note("there is room again"))
    print("written", written + 1)
    await store.close()

asyncio.run(main())
"""

WRITE_FOR_EVER = """
async def one(store, number):
    await store.write(note(str(number)))
    print(number, flush=True)

async def main():
    store = await Store.open(sys.argv[1])
    number = 0
    while True:
        await asyncio.gather(*(one(store, number + more) for more in range(10)))
        number += 10

asyncio.run(main())
"""


async def noted(url: str) -> list[str]:
    store = await Store.open(url)
    async with store.read() as conn:
        texts = (await conn.execute(select(journal.c.text).order_by(journal.c.id))).scalars()
        found = list(texts)
    await store.close()
    return found


def test_a_full_disk_is_an_error_and_writes_go_on_when_there_is_room(sqlite_url: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PRELUDE + FILL, sqlite_url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "full: The database could not do that (SQLITE_" in run.stdout
    found = asyncio.run(noted(sqlite_url))
    assert len(found) > 10
    assert run.stdout.splitlines()[-1] == f"written {len(found)}"
    assert found[-1] == "there is room again"


def test_what_was_accepted_is_there_after_a_kill(database_url: str) -> None:
    writing = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + WRITE_FOR_EVER, database_url],
        stdout=subprocess.PIPE,
        text=True,
    )
    with writing:
        assert writing.stdout is not None
        said = [writing.stdout.readline().strip() for _ in range(200)]
        writing.kill()
        said += [line.strip() for line in writing.stdout if line.endswith("\n")]
    found = asyncio.run(noted(database_url))
    assert len(said) >= 200
    assert set(said) <= set(found)
    assert len(set(found)) == len(found)  # and nothing twice
