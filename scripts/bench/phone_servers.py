"""What the hub is compared with on the telephone, each started as a process on the same core.

`echo` is the floor, `pipecat` the yardstick. Both answer `/health`, `/twilio/voice` and
`/twilio/media` as the hub does, so the callers do not know whom they call.
"""

import os
import sys
from pathlib import Path

from scripts.bench.measure import Server, cores, free_port

REPOSITORY = Path(__file__).parents[2]
PIPECAT = REPOSITORY / os.environ.get("PIPECAT_VENV", ".venv-pipecat") / "bin"


def echo(folder: Path) -> Server:
    command = [sys.executable, "-m", "scripts.bench.echo"]
    return _server("echo", command, folder, PYTHONPATH=str(REPOSITORY))


def pipecat(folder: Path) -> Server:
    # -P: else the modules beside the bot would stand in for packages of the same name.
    bot = str(REPOSITORY / "scripts" / "bench" / "pipecat_bot.py")
    return _server("pipecat", [str(PIPECAT / "python"), "-P", bot], folder)


def pipecat_is_there() -> bool:
    """Whether its environment is, with the web server the bot needs."""
    return (PIPECAT / "python").exists() and (PIPECAT / "uvicorn").exists()


def _server(name: str, command: list[str], folder: Path, **settings: str) -> Server:
    port = free_port()
    env = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    env |= {"HOME": str(folder), **settings}
    command = [*command, "--port", str(port)]
    return Server(name, command, port=port, core=cores()[1], env=env, cwd=folder)
