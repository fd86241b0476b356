"""Tools for a task's own workspace: write, read and list its files, run a command in it.

They work in tasks alone, because a conversation has no workspace. What a task leaves there are its
artifacts. Where paths may lead is decided by `tron.tasks.workspace`, what a command is kept from
by `tron.tasks.commands`.
"""

import asyncio
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tron.clock import iso
from tron.tasks.commands import Commands
from tron.tasks.workspace import PATH_CHARS, Workspace
from tron.tools.contract import StepScope, Tool, ToolContext, ToolFailed, ToolRefused

TEXT_CHARS = 200_000
READ_BYTES = 60 * 1024
"""of one reading; a tool's result may have little more"""
SHOWN = 200
COMMAND_CHARS = 8_000
COMMAND_S = 600
ENDING_S = 40
"""on top of a command's own limit, for putting everything away"""

FilePath = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=PATH_CHARS,
        description="Path within the task's workspace, such as report/notes.md.",
    ),
]


class WriteFile(msgspec.Struct):
    path: FilePath
    content: Annotated[str, Meta(max_length=TEXT_CHARS, description="The whole text of the file.")]


class ReadFile(msgspec.Struct):
    path: FilePath
    from_line: Annotated[int, Meta(ge=1, le=10_000_000, description="The first line to read.")] = 1


class ListFiles(msgspec.Struct):
    pass


class RunCommand(msgspec.Struct):
    command: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=COMMAND_CHARS,
            description="A line for the shell (sh), run in the workspace. It has no network and "
            "sees no other files; what it should keep it writes into files there.",
        ),
    ]
    timeout_s: Annotated[
        int, Meta(ge=1, le=COMMAND_S, description="Seconds after which it is stopped.")
    ] = 60


def workshop(commands: Commands) -> list[Tool[Any]]:
    """The tools of this file."""
    return [
        Tool(
            "write_file",
            "Write a text file in the task's workspace, in the place of what was there. Use it "
            "for what the task is to leave behind.",
            WriteFile,
            _write,
            effect="write",
            repeatable=True,
            task_only=True,
        ),
        Tool(
            "read_file",
            "Read a text file of the task's workspace.",
            ReadFile,
            _read,
            effect="read",
            task_only=True,
        ),
        Tool(
            "list_files",
            "List the files in the task's workspace, with their sizes.",
            ListFiles,
            _list,
            effect="read",
            task_only=True,
        ),
        Tool(
            "run_command",
            "Run a shell command in the task's workspace, confined to it and without network.",
            RunCommand,
            partial(_run, commands),
            effect="execute",
            task_only=True,
            timeout_s=COMMAND_S + ENDING_S,
            why_not=lambda _: commands.why_not(),
        ),
    ]


def _scope(context: ToolContext) -> StepScope:
    if context.step is None:
        raise ToolRefused("Only a task has a workspace.")
    return context.step


async def _write(context: ToolContext, args: WriteFile) -> str:
    workspace = Workspace(_scope(context).workspace)
    data = args.content.encode(errors="replace")
    await asyncio.to_thread(workspace.write, args.path, data)
    return f"Written: {args.path} ({len(data)} bytes)."


async def _read(context: ToolContext, args: ReadFile) -> str:
    return await asyncio.to_thread(_read_now, Workspace(_scope(context).workspace), args)


def _read_now(workspace: Workspace, args: ReadFile) -> str:
    kept: list[bytes] = []
    left = READ_BYTES
    number = 0
    with workspace.open(args.path) as file:
        for number, line in enumerate(file, 1):
            if b"\0" in line:
                raise ToolFailed(f"{args.path} is no text file.")
            if number < args.from_line:
                continue
            kept.append(line[:left])
            left -= len(line)
            if left <= 0:
                break
        more = left <= 0 and bool(file.read(1) or left < 0)
    if not number:
        return f"{args.path} is empty."
    if not kept:
        raise ToolFailed(f"{args.path} has {number} lines only.")
    text = b"".join(kept).decode(errors="replace")
    return f"{text}\n… (there is more from line {number} on)" if more else text


async def _list(context: ToolContext, _: ListFiles) -> str:
    found = await asyncio.to_thread(Workspace(_scope(context).workspace).artifacts)
    if not found:
        return "The workspace is empty."
    lines = [f"- {file.path} ({file.bytes} bytes, {iso(file.modified_at)})" for file in found]
    more = [f"… and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return "\n".join([*lines[:SHOWN], *more])


async def _run(commands: Commands, context: ToolContext, args: RunCommand) -> str:
    scope = _scope(context)
    ran = await commands.run(
        Workspace(scope.workspace),
        ["/bin/sh", "-c", args.command],
        timeout_s=args.timeout_s,
        told=scope.log,
    )
    output = ran.output.strip() or "(it wrote nothing)"
    if ran.status is None:
        raise ToolFailed(f"{ran.why} What it wrote:\n{output}")
    if ran.status != 0:
        raise ToolFailed(f"It ended with exit status {ran.status}. What it wrote:\n{output}")
    return f"It ended with exit status 0. What it wrote:\n{output}"
