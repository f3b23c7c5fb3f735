"""The page of the unattended story: what was recorded, learned and driven, with pictures, curves and intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from storage.layout import Home
from workbench.core.files import write_json
from workbench.core.types import Outcome
from workbench.services.blocks import Block, Card, Drawn, Page, Section, Styled
from workbench.services.evaluation import Rate, pooled
from workbench.services.figures import PALETTE, interval_bar
from workbench.services.finetune import Receipt, receipts
from workbench.services.jobs import Jobs
from workbench.services.library import Library
from workbench.services.report import facts, machine_section, strip_block, training_blocks, write_page
from workbench.services.story import Story

_ALIGNMENT = (
    "Two pictures, now and a little later, are read as tokens of the same book, for robot and human video alike. "
    "Retrieval asks: does the visual code of a held-out robot window find its own action among many?"
)
STAGES = (
    ("act_vae", "Act-VAE: motion as tokens", "Robot action chunks become a short sequence of tokens and back."),
    (
        "vd_vae",
        "Alignment: video as the same tokens",
        _ALIGNMENT,
    ),
    ("ntp", "CLAP-NTP: the token policy", "Picture and instruction to action tokens, true ones and read-off ones."),
    ("rf", "CLAP-RF: the flow policy", "A rectified-flow head on the same features gives smooth chunks in few steps."),
    (
        "finetune",
        "Fine-tuning with Knowledge Matching",
        "New demonstrations are learned while a frozen copy of the model is matched under the old instructions.",
    ),
)


def write_story(story: Story, result: Mapping[str, Any]) -> Path:
    """Write ``report.html`` and ``demo.json`` into the demonstration's run folder; returns the page."""
    write_json(story.folder / "demo.json", dict(result))
    return write_page(story.folder / "report.html", story_page(story, result))


def story_page(story: Story, result: Mapping[str, Any]) -> Page:
    """Build the page; reads takes and runs of the story's data folder."""
    home = Path(story.home)
    jobs = Jobs(home)
    lines = receipts(story.before, story.after, (story.plan.new_task,))
    with Library(home) as library:
        recorded, rollouts = _takes_section(library, story), _rollouts_section(library, story)
    sections = [_driving_section(lines, story), rollouts, recorded]
    sections += [
        Section(title, intro, training_blocks(jobs, Home.open(home).runs / story.runs[stage], story.runs[stage]))
        for stage, title, intro in STAGES
        if stage in story.runs
    ]
    sections.append(machine_section(story.seconds, str(result["command"])))
    if story.notes:
        sections.append(Section("Remarks", blocks=(Block(columns=("",), rows=tuple((n,) for n in story.notes)),)))
    return Page(
        title="From human video to a driven arm",
        subtitle="One unattended run of CLAP Workbench on its simulated station: contact physics, rendered cameras, a "
        f"scripted operator and a simulated human hand. Size '{story.plan.name}', seed {story.seed}.",
        cards=_cards(story, result, lines),
        sections=tuple(sections),
    )


def _cards(story: Story, result: Mapping[str, Any], lines: Sequence[Receipt]) -> tuple[Card, ...]:
    counts = result["episodes"]
    old = [line for line in lines if not line.new]
    new = next((line for line in lines if line.new), None)
    before, after = pooled([line.before for line in old]), pooled([line.after for line in old])
    aligned = result["alignment"]
    cards = [
        Card("Takes", str(sum(counts.values())), ", ".join(f"{n} {kind}" for kind, n in counts.items())),
        Card("Old tasks, before", _percent(before), _hint(before)),
        Card("Old tasks, after", _percent(after), _hint(after)),
    ]
    if new is not None:
        words = f"before: {_percent(new.before)}; n = {new.after.n}"
        cards.append(Card("New task, after", _percent(new.after), words))
    if aligned.get("retrieval_top1") is not None:
        first, five, chance = (100 * aligned[name] for name in ("retrieval_top1", "retrieval_top5", "chance"))
        words = f"top 5: {five:.0f} %; chance {chance:.1f} %, n = {aligned['n']}"
        cards.append(Card("Retrieval, top 1", f"{first:.0f} %", words))
    if story.latency_ms:
        words = ", ".join(f"{head.upper()} {value:.1f}" for head, value in sorted(story.latency_ms.items()))
        cards.append(Card("Inference", f"{story.latency_ms.get('rf', 0.0):.1f} ms", f"median ms: {words}"))
    cards.append(Card("Time", f"{sum(story.seconds.values()) / 60:.1f} min", "everything, on this machine"))
    return tuple(cards)


def _takes_section(library: Library, story: Story) -> Section:
    titles = {
        "demonstrations": "demonstration",
        "human": "human clip",
        "imported": "real recording, imported",
        "new": "demonstration of the new task",
    }
    blocks: list[Block] = []
    for chapter, words in titles.items():
        for episode_id in _samples(story.episodes.get(chapter, ())):
            blocks += _strip(library, episode_id, words)
    counts = {words: len(story.episodes.get(chapter, ())) for chapter, words in titles.items()}
    blocks.append(facts(counts, "Takes recorded or imported"))
    intro = "Every take went through the ordinary recorder: cameras, clock, journal, seal. Pictures in order of time."
    return Section("Recorded", intro, tuple(blocks))


def _samples(ids: Sequence[str]) -> tuple[str, ...]:
    """One from near the start and one from near the end: with them usual and randomised looks are both seen."""
    return tuple(dict.fromkeys((ids[0], ids[-1]))) if ids else ()


def _driving_section(lines: Sequence[Receipt], story: Story) -> Section:
    rows = tuple(_row(line) for line in lines)
    columns = ("task", "", "before", "", "after fine-tuning", "", "")
    blocks = [Block("Dot: measured rate. Band: 95 % Wilson interval.", columns=columns, rows=rows, shape="wide")]
    if story.ntp:
        tokens = tuple(
            (task.replace("_", " "), Drawn(interval_bar(rate.success, *rate.interval, colour=PALETTE[2])), str(rate))
            for task, rate in story.ntp.items()
        )
        blocks.append(Block("The token head before fine-tuning", columns=("task", "", ""), rows=tokens, shape="wide"))
    intro = (
        "The same seeded scenes before and after fine-tuning. A verdict is given only where intervals do not overlap."
    )
    return Section("Driving: the receipt", intro, tuple(blocks))


def _row(line: Receipt) -> tuple[Any, ...]:
    before, after = line.before, line.after
    return (
        line.task.replace("_", " "),
        "new" if line.new else "",
        Drawn(interval_bar(before.success, *before.interval)),
        f"{_percent(before)} of {before.n}",
        Drawn(interval_bar(after.success, *after.interval, colour=PALETTE[1])),
        f"{_percent(after)} of {after.n}",
        Styled(line.verdict, line.verdict if line.verdict in ("better", "worse") else ""),
    )


def _rollouts_section(library: Library, story: Story) -> Section:
    """One success and one failure of each chapter, where there are any."""
    blocks: list[Block] = []
    for chapter, words in (("before", "before fine-tuning"), ("after", "after fine-tuning")):
        wanted = set(story.trials.get(chapter, ()))
        for outcome in (Outcome.SUCCESS, Outcome.FAILURE):
            ids = [r.id for r in library.episodes(outcome=outcome) if r.id in wanted]
            blocks += list(_strip(library, ids[-1], f"{outcome}, {words}")) if ids else []
    return Section("Rollouts", "Every trial is an episode with who was in command at each tick.", tuple(blocks))


def _strip(library: Library, episode_id: str, words: str) -> Iterator[Block]:
    with library.open(episode_id) as view:
        said = f" “{view.record.instruction}”" if view.record.instruction else ""
        block = strip_block(view, f"{words}:{said} {view.record.duration_s:.1f} s")
    if block is not None:
        yield block


def _percent(rate: Rate) -> str:
    return f"{100 * rate.success:.0f} %" if rate.n else "none"


def _hint(rate: Rate) -> str:
    return f"n = {rate.n}, {100 * rate.interval[0]:.0f} to {100 * rate.interval[1]:.0f} %"
