"""Tools for what the company knows: share an entry, search the entries, read the day's feed."""

from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from tron.clock import iso
from tron.memory.knowledge import Domain, EntryType, Knowledge, KnowledgeEntry
from tron.tools.contract import Tool, ToolContext

Tag = Annotated[str, Meta(min_length=1, max_length=50)]


class ShareKnowledge(msgspec.Struct):
    type: Annotated[EntryType, Meta(description="What kind of entry this is.")]
    title: Annotated[
        str, Meta(min_length=1, max_length=200, description="The point in one short line.")
    ]
    content: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=8_000,
            description="What a colleague should know, with the figures and where they come from. "
            "Nothing private about a caller.",
        ),
    ]
    domain: Annotated[Domain, Meta(description="The field it belongs to.")] = "general"
    tags: Annotated[
        list[Tag], Meta(max_length=10, description="Key words that help to find it.")
    ] = []


class QueryKnowledge(msgspec.Struct):
    query: Annotated[
        str, Meta(max_length=1_000, description="What to look for; left out: the newest entries.")
    ] = ""
    domain: Annotated[Literal[Domain, ""], Meta(description="Only this field; left out: all.")] = ""
    author: Annotated[
        str, Meta(max_length=64, description="Only entries of this persona, by id such as `maya`.")
    ] = ""
    type: Annotated[
        Literal[EntryType, ""], Meta(description="Only this kind of entry; left out: all.")
    ] = ""
    tags: Annotated[
        list[Tag], Meta(max_length=10, description="Only entries with any of these tags.")
    ] = []
    limit: Annotated[int, Meta(ge=1, le=50, description="Entries at most.")] = 10


class KnowledgeFeed(msgspec.Struct):
    pass


def knowing(knowledge: Knowledge) -> list[Tool[Any]]:
    """The tools of this file."""
    return [
        Tool(
            "share_knowledge",
            "Share a discovery, insight, decision, result or resource with all colleagues. Use it "
            "for what the company should know; for facts about a caller use remember.",
            ShareKnowledge,
            partial(_share, knowledge),
            effect="write",
        ),
        Tool(
            "query_knowledge",
            "Search what colleagues have shared in the last 30 days, by words and filters.",
            QueryKnowledge,
            partial(_query, knowledge),
            effect="read",
        ),
        Tool(
            "knowledge_feed",
            "Read what colleagues shared in the last 24 hours, in short.",
            KnowledgeFeed,
            partial(_feed, knowledge),
            effect="read",
        ),
    ]


async def _share(knowledge: Knowledge, context: ToolContext, args: ShareKnowledge) -> str:
    entry = await knowledge.share(
        context.client_id,
        author=context.process.agent,
        type=args.type,
        title=args.title,
        content=args.content,
        domain=args.domain,
        tags=args.tags,
        source={"process_id": context.process.id},
    )
    return f"Shared with everyone as {entry.id}: {entry.title}"


async def _query(knowledge: Knowledge, context: ToolContext, args: QueryKnowledge) -> str:
    found = await knowledge.query(
        context.client_id,
        text=args.query,
        domain=args.domain,
        author=args.author.strip().lower(),
        type=args.type,
        tags=args.tags,
        limit=args.limit,
    )
    return _listed(found) or "Nobody has shared anything like that."


async def _feed(knowledge: Knowledge, context: ToolContext, _: KnowledgeFeed) -> str:
    found = await knowledge.feed(context.client_id)
    return _listed(found) or "Nobody has shared anything in the last 24 hours."


def _listed(entries: list[KnowledgeEntry]) -> str:
    return "\n".join(
        f"- {entry.title} ({entry.type}, {entry.domain}, by {entry.author}, "
        f"{iso(entry.created_at)}, id {entry.id}): {entry.content}"
        for entry in entries
    )
