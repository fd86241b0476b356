"""The activity `team_check`: what the process table says about how the team is doing."""

from collections import Counter

import msgspec

from tron.life.wording import counted, cut, lines
from tron.life.work import Work
from tron.orchestrator.process import Process


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The team in numbers, over running and recently ended processes."""

    running: int
    completed: int
    failed: int
    restarts: int
    tokens: int
    cost_usd: float
    unpriced: int
    """processes whose cost is not known"""
    busiest: tuple[str, int] | None
    """agent with the most processes, and how many"""
    failing: list[str]
    """agents with failed processes"""

    @property
    def total(self) -> int:
        return self.running + self.completed + self.failed


def figures(processes: list[Process]) -> Figures:
    """Add up what the processes say about themselves."""
    status = Counter(process.status for process in processes)
    agents = Counter(process.agent for process in processes)
    costs = [process.metrics.cost_usd for process in processes]
    return Figures(
        running=status["running"] + status["pending"],
        completed=status["completed"],
        failed=status["failed"],
        restarts=sum(process.restarts for process in processes),
        tokens=sum(p.metrics.input_tokens + p.metrics.output_tokens for p in processes),
        cost_usd=sum(cost for cost in costs if cost is not None),
        unpriced=costs.count(None),
        busiest=max(agents.items(), key=lambda item: (item[1], item[0]), default=None),
        failing=sorted({process.agent for process in processes if process.status == "failed"}),
    )


def told(seen: Figures) -> str:
    """The figures in a sentence."""
    cost = f"{seen.cost_usd:.4f} USD" if seen.cost_usd else "0 USD"
    if seen.unpriced:
        cost += f" and {counted(seen.unpriced, 'process', 'processes')} of unknown cost"
    return (
        f"{seen.running} running, {seen.completed} completed, {seen.failed} failed, "
        f"{counted(seen.restarts, 'restart')}, {counted(seen.tokens, 'token')}, {cost}"
    )


def observed(seen: Figures) -> str:
    """What the figures mean, as far as figures can say."""
    said = [f"I looked at the team: {told(seen)}."]
    if seen.busiest and seen.total > 1:
        said.append(f"Busiest is {seen.busiest[0]} with {seen.busiest[1]} of {seen.total}.")
    if seen.failed:
        said.append(f"Failures with {', '.join(seen.failing)}: somebody should look into them.")
    elif seen.restarts:
        said.append("Nothing failed for good, but something had to be started again.")
    else:
        said.append("Nothing failed, nothing had to be started again.")
    return " ".join(said)


async def team_check(work: Work) -> str:
    """Run the activity."""
    others = [p for p in work.orchestrator.recent() if p.id != work.process.id]
    mine = [p for p in others if p.client_id == work.client_id]
    if not mine:
        result = "Nobody else is at work, and nothing has finished since the hub started."
        await work.note("team_check", result)
        return f"Checked the team: {result}"
    seen = figures(mine)
    prompt = (
        "You are checking on the team. These are the real figures of the processes running now "
        f"and recently ended (at most the last 200): {told(seen)}. Processes per agent: "
        f"{dict(Counter(p.agent for p in mine))}. Agents with failures: {seen.failing or 'none'}."
        "\nIn two or three sentences, in your own voice, say what you notice and what, if "
        "anything, should be done. Use only these figures."
    )
    words = await work.think(prompt, offline=observed(seen), max_tokens=200)
    await work.note("team_check", cut(lines(words), 1200))
    return f"Checked the team: {told(seen)}."
