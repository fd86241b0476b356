"""Project servers: which label under the base domain leads to which loopback port.

Owns the `subdomains` table and its rules: labels are one DNS-safe part, ports are of the
configured range and never the hub's own, a project has one label and keeps it until its port has
refused connections for `REFUSED_S`, sweep after sweep. Knows nothing of HTTP. The proxy asks
`port_of`, the certificate check asks `is_ours`; both read a copy in memory that is at most
`REREAD_S` old, so another hub on the same database is followed.
"""

import asyncio
import base64
import re
import secrets
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog
from sqlalchemy import Connection, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from tron.clock import Clock
from tron.errors import Conflict, Invalid, NotConfigured, NotFound, StorageUnavailable
from tron.settings import Settings
from tron.storage.store import Store
from tron.storage.tables import HOUSE, subdomains

log = structlog.get_logger(__name__)

REREAD_S = 2.0
REFUSED_S = 600.0
"""a server that comes back within this time keeps its name"""
CONNECT_S = 2.0
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Allocation(msgspec.Struct, frozen=True, kw_only=True):
    """One registered project server."""

    label: str
    project: str
    port: int
    url: str


class Subdomains:
    """The registered project servers of one hub."""

    def __init__(self, settings: Settings, store: Store, clock: Clock) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self.base = settings.base_domain.lower().strip(".")
        self._api_name = (urlsplit(settings.public_url).hostname or "").lower()
        self._ports: dict[str, int] = {}
        self._read_at: float | None = None
        self._refused_since: dict[tuple[str, int], float] = {}
        """by (label, port), as of the last sweep; monotonic seconds"""

    async def _reread(self) -> None:
        now = self._clock.monotonic()
        if self._read_at is not None and now - self._read_at < REREAD_S:
            return
        self._read_at = now
        try:
            async with self._store.read() as conn:
                rows = await conn.execute(select(subdomains.c.label, subdomains.c.port))
                self._ports = {row.label: row.port for row in rows}
        except StorageUnavailable:
            log.warning("subdomains.unread")  # what was known still holds

    def label_of(self, domain: str) -> str | None:
        """The label if `domain` is exactly one DNS-safe label under the base domain."""
        name = domain.lower().removesuffix(".")
        if not self.base or not name.endswith("." + self.base):
            return None
        label = name[: -len(self.base) - 1]
        return label if LABEL.fullmatch(label) else None

    async def port_of(self, host: str) -> int | None:
        """The loopback port behind a `Host` header; None: not a project server's."""
        label = self.label_of(host.partition(":")[0])
        if label is None:
            return None
        await self._reread()
        return self._ports.get(label)

    async def is_ours(self, domain: str) -> bool:
        """Whether a certificate may be obtained for `domain`."""
        if self._api_name and domain.lower().removesuffix(".") == self._api_name:
            return True
        return await self.port_of(domain) is not None

    async def list(self, client_id: str) -> list[Allocation]:
        """What a tenant has registered, by label."""
        query = select(subdomains).where(subdomains.c.client_id == client_id)
        async with self._store.read() as conn:
            rows = (await conn.execute(query.order_by(subdomains.c.label))).all()
        return [
            Allocation(label=r.label, project=r.project, port=r.port, url=self._url(r.label))
            for r in rows
        ]

    async def register(
        self, project: str, port: int, label: str | None = None, client_id: str = HOUSE
    ) -> Allocation:
        """Give a project's server its name; again for the same project: the same name.

        A project that names another port or label moves there. Raises NotConfigured (no base
        domain), Invalid (port, label), Conflict (another project has that port or label).
        """
        if not self.base:
            raise NotConfigured("Set TRON_BASE_DOMAIN to give project servers a subdomain.")
        self._check_port(port)
        wanted = None if label is None else label.lower()
        if wanted is not None:
            self._check_label(wanted)
        now = self._clock.now_ms()

        def unit(conn: Connection) -> str:
            return _register(conn, client_id, project, port, wanted, now)

        try:
            given = await self._store.write(unit)
        except IntegrityError:  # somebody else was faster
            raise Conflict("That port or subdomain was taken just now.") from None
        self._read_at = None
        return Allocation(label=given, project=project, port=port, url=self._url(given))

    async def sweep(self) -> int:
        """Let go of the names, of every tenant, whose servers are gone; returns how many."""
        async with self._store.read() as conn:
            rows = (await conn.execute(select(subdomains.c.label, subdomains.c.port))).all()
        now = self._clock.monotonic()
        refused = [(row.label, row.port) for row in rows if await _refuses(row.port)]
        self._refused_since = {place: self._refused_since.get(place, now) for place in refused}
        gone = [p for p, since in self._refused_since.items() if now - since >= REFUSED_S]
        for label, port in gone:
            there = (subdomains.c.label == label, subdomains.c.port == port)
            await self._store.write(
                lambda conn, there=there: conn.execute(delete(subdomains).where(*there)) and None  # type: ignore[misc]
            )
            log.warning("subdomain.removed", label=label, port=port, refused_s=REFUSED_S)
            self._read_at = None
        return len(gone)

    def _check_port(self, port: int) -> None:
        if port not in self._settings.project_port_range or port == self._settings.port:
            raise Invalid(
                f"Project servers listen on ports {self._settings.project_ports} "
                "(TRON_PROJECT_PORTS), never on the hub's own.",
                param="port",
                code="port_not_allowed",
            )

    def _check_label(self, label: str) -> None:
        if not LABEL.fullmatch(label):
            raise Invalid(
                "A subdomain is one label of letters, digits and inner hyphens, at most 63.",
                param="subdomain",
            )
        if f"{label}.{self.base}" == self._api_name:
            raise Conflict("That name is the hub's own.", param="subdomain")

    def _url(self, label: str) -> str:
        return f"https://{label}.{self.base}"

    async def release(self, label: str, client_id: str = HOUSE) -> None:
        """Forget a project server. Raises NotFound."""
        wanted = label.lower()
        mine = (subdomains.c.client_id == client_id, subdomains.c.label == wanted)
        if not LABEL.fullmatch(wanted) or not await self._store.write(
            lambda conn: conn.execute(delete(subdomains).where(*mine)).rowcount
        ):
            raise NotFound("No project server is registered there.", param="label")
        self._read_at = None


async def _refuses(port: int) -> bool:
    """Whether nobody listens there; a server that is only slow does."""
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    except (OSError, TimeoutError):
        return False
    writer.close()
    return False


def _register(
    conn: Connection, client_id: str, project: str, port: int, label: str | None, now: int
) -> str:
    """In the writer's thread: the label the project has from now on."""
    table = subdomains.c
    own: Any = (table.client_id == client_id, table.project == project)
    had = conn.execute(select(table.label).where(*own)).scalar()
    given = label or had or base64.b32encode(secrets.token_bytes(5)).decode().lower()
    # A port or a label is one server's, whoever's tenant it is.
    taken = select(table.client_id, table.project).where(
        or_(table.label == given, table.port == port)
    )
    if any((row.client_id, row.project) != (client_id, project) for row in conn.execute(taken)):
        raise Conflict("Another project has that port or subdomain.", code="subdomain_taken")
    if had is None:
        row = {"label": given, "client_id": client_id, "project": project}
        conn.execute(insert(subdomains).values(row | {"port": port, "created_at": now}))
    else:
        conn.execute(update(subdomains).where(*own).values(label=given, port=port))
    return given
