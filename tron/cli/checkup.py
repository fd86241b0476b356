"""`tron doctor`: prints what the doctor finds, as it finds it."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tron.doctor import Finding, examine
from tron.environment import load_settings
from tron.settings import SettingsError

SIGNS = {
    "ok": "[green]✓[/]",
    "failed": "[red]✗[/]",
    "warning": "[yellow]![/]",
    "off": "[dim]–[/]",
}


async def run() -> bool:
    """Print every finding. True if nothing that is configured fails."""
    console = Console(highlight=False)
    try:
        settings = load_settings()
    except SettingsError as error:
        for line in str(error).splitlines():
            hint = "See docs/settings.md, or: tron config --help"
            console.print(_line(Finding("settings", "failed", line, hint)))
        return False
    console.print(_line(Finding("settings", "ok", "every one can be used")))
    failed = 0
    async for finding in examine(settings):
        console.print(_line(finding))
        failed += finding.state == "failed"
    if failed:
        console.print(f"\n[red]{failed} of these must be mended.[/]")
    return not failed


def _line(finding: Finding) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(width=1)
    table.add_column(width=24, overflow="fold")
    table.add_column(overflow="fold")
    hint = f"\n[dim]→ {escape(finding.hint)}[/]" if finding.hint else ""
    table.add_row(SIGNS[finding.state], escape(finding.name), escape(finding.detail) + hint)
    return table
