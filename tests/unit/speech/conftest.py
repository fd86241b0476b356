"""The local engines."""

from collections.abc import AsyncIterator

import pytest

from tron.speech.espeak import Espeak
from tron.speech.moonshine import Moonshine
from tron.speech.silero import Silero


@pytest.fixture
async def espeak() -> AsyncIterator[Espeak]:
    engine = Espeak()
    yield engine
    await engine.close()


@pytest.fixture
async def moonshine() -> AsyncIterator[Moonshine]:
    engine = Moonshine()
    yield engine
    await engine.close()


@pytest.fixture(scope="session")
def silero() -> Silero:
    return Silero()
