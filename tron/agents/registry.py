"""Who lives in the hub, read from a folder of persona files and kept up to date.

Owns the folder: which files changed, which persona each stands for, which names are taken. A
file that breaks keeps its last good persona and lists its faults; a deleted file takes its
persona with it. While nobody has the name of the default persona, the first one stands in for it
wherever it is asked for. What readers see is one immutable view that is swapped whole, so `get` is
a dictionary lookup that never waits for the disk, even while a refresh runs in a thread. `named`
and `wanted` are how every surface finds the persona a request is for.
"""

import asyncio
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import structlog

from tron.agents.persona import MAX_BYTES, Parsed, Persona, PersonaFault, parse
from tron.agents.tool_names import TOOL_NAMES
from tron.clock import Clock
from tron.errors import NotConfigured, NotFound

log = structlog.get_logger(__name__)

POLL_S = 1.0
SETTLED_MS = 2000
"""a file changed more recently than this when it was read may have changed again unnoticed"""
REPEATED_CHARS = 64
"""of a name nobody has, said back to whoever asked for it"""


class _Stamp(NamedTuple):
    """What tells one version of a file from the next without reading it."""

    mtime_ns: int
    size: int
    inode: int


class _File(NamedTuple):
    """The latest version of a file."""

    stamp: _Stamp
    settled: bool
    raw: bytes | None
    """None: it could not be read"""
    parsed: Parsed


class _View(NamedTuple):
    """What readers see."""

    personas: tuple[Persona, ...]
    by_handle: dict[str, Persona]
    faults: tuple[PersonaFault, ...]


class Registry:
    """The personas, by name and id."""

    def __init__(self, folder: Path, clock: Clock, *, default: str) -> None:
        """Empty until the first `refresh`. `default`: who answers when a request names nobody."""
        self._folder = folder
        self._clock = clock
        self._default = default.casefold()
        self._tools = TOOL_NAMES
        self._files: dict[str, _File] = {}
        self._serving: dict[str, Persona] = {}
        self._view = _View((), {}, ())
        self._refreshing = threading.Lock()

    @property
    def personas(self) -> list[Persona]:
        """Everyone, by `order`, then id."""
        return list(self._view.personas)

    @property
    def faults(self) -> list[PersonaFault]:
        """What is wrong with the files now."""
        return list(self._view.faults)

    @property
    def stand_in(self) -> Persona | None:
        """Who stands in for the default persona; None: it lives here, or nobody does."""
        found = self._view.by_handle.get(self._default)
        return None if found is None or self._default in _handles(found) else found

    def get(self, name_or_id: str) -> Persona | None:
        """Whoever goes by this name or id, in any case of letters."""
        return self._view.by_handle.get(name_or_id.casefold())

    def named(
        self, name_or_id: str, *, param: str | None = None, code: str | None = None
    ) -> Persona:
        """Whoever goes by this name or id. Raises NotFound, with the asking surface's `param` (the
        field that held the name) and `code`."""
        found = self.get(name_or_id)
        if found is None:
            message = f"There is no agent {name_or_id[:REPEATED_CHARS]!r}."
            raise NotFound(message, param=param, code=code)
        return found

    def wanted(
        self, name_or_id: str | None, *, param: str | None = None, code: str | None = None
    ) -> Persona:
        """As `named`; None or empty names nobody, and is the default persona. Raises NotConfigured
        where nobody is named and nobody lives here."""
        if name_or_id:
            return self.named(name_or_id, param=param, code=code)
        view = self._view
        if not view.personas:
            raise NotConfigured("No persona could be loaded; `tron personas` says why.")
        return view.by_handle[self._default]

    def name_of(self, id: str) -> str:
        """What people call the persona of this id, `Tony`; of one who has gone, the id."""
        found = self.get(id)
        return id if found is None else found.name

    def know_tools(self, names: Iterable[str]) -> None:
        """There are these tools too: a file that names one is not at fault. Blocks as `refresh`."""
        with self._refreshing:
            known = self._tools.union(names)
            if known == self._tools:
                return
            self._tools = known
            self._files = {}  # they are read again
        self.refresh()

    def refresh(self) -> bool:
        """Read what changed since the last call. True if a persona came, went or changed.

        Blocks on the disk: in the event loop, call it through a thread.
        """
        with self._refreshing:
            before = self._view.personas
            try:
                found = self._scan()
            except OSError as error:  # nothing is known about the files, so everyone stays
                fault = self._folder_fault(f"can't be read: {error.strerror}")
                self._view = self._view._replace(faults=(fault,))
                return False
            self._files = {name: self._read(name, stamp) for name, stamp in found.items()}
            self._settle_names()
            return self._view.personas != before

    async def watch(self) -> None:
        """Keep up with the folder for ever, once a second. The hub runs it as a task."""
        told: set[PersonaFault] = set()
        told_of: Persona | None = None
        while True:
            changed = await asyncio.to_thread(self.refresh)
            view = self._view
            if changed:
                log.info("personas.changed", personas=[persona.id for persona in view.personas])
            for fault in view.faults:
                if fault not in told:
                    log.warning(
                        "personas.fault", file=fault.file, line=fault.line, fault=fault.message
                    )
            told = set(view.faults)
            if (stand_in := self.stand_in) is not None and stand_in != told_of:
                log.warning("personas.no_default", wanted=self._default, stand_in=stand_in.id)
            told_of = stand_in
            await asyncio.sleep(POLL_S)

    def _scan(self) -> dict[str, _Stamp]:
        """The persona files there are, first in the alphabet first."""
        found = {}
        for path in sorted(self._folder.iterdir()):
            if path.suffix == ".md" and not path.name.startswith(".") and path.is_file():
                try:
                    stat = path.stat()
                except FileNotFoundError:  # deleted meanwhile
                    continue
                found[path.name] = _Stamp(stat.st_mtime_ns, stat.st_size, stat.st_ino)
        return found

    def _read(self, name: str, stamp: _Stamp) -> _File:
        known = self._files.get(name)
        if known and known.stamp == stamp and known.settled:
            return known
        settled = self._clock.now_ms() - stamp.mtime_ns // 1_000_000 > SETTLED_MS
        try:
            with (self._folder / name).open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
        except OSError as error:
            fault = PersonaFault(name, 1, f"can't be read: {error.strerror}")
            return _File(stamp, False, None, Parsed(None, (fault,)))
        if known and known.raw == raw:
            return known._replace(stamp=stamp, settled=settled)
        return _File(stamp, settled, raw, parse(name, raw, self._tools))

    def _settle_names(self) -> None:
        """Decide who goes by which name, and show the result.

        A name belongs to whoever has it already, then to the file called so, then to the first
        in the alphabet. Whoever claims it besides is at fault and, as any broken file, keeps its
        last good persona.
        """
        owners = self._owners()
        faults = [fault for file in self._files.values() for fault in file.parsed.faults]
        serving: dict[str, Persona] = {}
        for name, file in self._files.items():
            wanted, last = file.parsed.persona, self._serving.get(name)
            if wanted:
                for handle in _handles(wanted):
                    if (owner := owners[handle]) != wanted.id:
                        message = f"the name `{handle}` belongs to {owner}.md"
                        faults.append(PersonaFault(name, file.parsed.name_line, message))
            for persona in (wanted, last):
                if persona and all(
                    owners.get(handle, persona.id) == persona.id for handle in _handles(persona)
                ):
                    serving[name] = persona
                    break
        if not self._files:
            faults.append(self._folder_fault("holds no persona file (NAME.md)"))
        self._serving = serving
        everyone = sorted(serving.values(), key=lambda persona: (persona.order, persona.id))
        by_handle = {handle: persona for persona in everyone for handle in _handles(persona)}
        if everyone:
            by_handle.setdefault(self._default, everyone[0])
        self._view = _View(tuple(everyone), by_handle, tuple(sorted(faults)))

    def _owners(self) -> dict[str, str]:
        """The id of the persona that each name and id belongs to."""
        settled: list[Persona] = []
        newcomers: list[Persona] = []
        for name, file in self._files.items():
            last = self._serving.get(name)
            if persona := file.parsed.persona or last:
                same = last and _handles(last) == _handles(persona)
                (settled if same else newcomers).append(persona)
        owners: dict[str, str] = {}
        for personas in (settled, newcomers):
            for persona in personas:
                owners.setdefault(persona.id, persona.id)
            for persona in personas:
                owners.setdefault(persona.name.casefold(), persona.id)
        return owners

    def _folder_fault(self, message: str) -> PersonaFault:
        return PersonaFault(str(self._folder), 0, message)


def _handles(persona: Persona) -> set[str]:
    """What it can be called."""
    return {persona.id, persona.name.casefold()}
