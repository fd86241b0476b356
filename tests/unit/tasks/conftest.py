"""A house for every test: the task parts of one hub, on both databases."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.tasks.house import House
from tron.storage.store import Store


@pytest.fixture
async def house(store: Store, tmp_path: Path) -> AsyncIterator[House]:
    made = House(store, tmp_path)
    await made.begin()
    yield made
    await made.close()
