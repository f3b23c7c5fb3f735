"""Pages that a person reads afterwards: one self-contained HTML file, pictures and charts inside, nothing fetched.

A page is plain values (cards, sections, blocks); the template turns them into HTML and escapes every text.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from models.stages import TITLES
from storage.layout import Home
from workbench.core.files import read_json, write_atomic
from workbench.core.types import Image
from workbench.services.alignment_report import alignment_sections
from workbench.services.blocks import Block, Page, Section
from workbench.services.figures import film_strip, line_chart
from workbench.services.jobs import Jobs
from workbench.services.library import TakeView
from workbench.services.machine import machine, versions
from workbench.services.report_arrays import array_blocks
from workbench.services.report_metrics import metric_blocks, short
from workbench.services.report_receipt import receipt_sections

TEMPLATES = Path(__file__).parent / "templates"
STRIP_PICTURES = 8
_PER_POSITION = "perplexity_p"
_NOT_CURVES = frozenset({"seconds", "lr", "step", "grad"})


def render(page: Page) -> str:
    """The whole HTML document. Every text is escaped; only SVG made by ``figures`` goes in as it is."""
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.get_template("report.html.j2").render(page=page)


def write_page(path: Path, page: Page) -> Path:
    """Write ``page`` to ``path`` so that a reader never sees half of it."""
    write_atomic(path, render(page).encode())
    return path


def write_run_report(home: Path, run_id: str) -> Path:
    """The page of one training run: ``runs/<id>/report.html``. NotFoundError for an unknown run."""
    jobs = Jobs(home)
    status = jobs.status(run_id)
    folder = Home.open(home).runs / run_id
    recipe = read_json(folder / "run.json")["recipe"]
    page = Page(
        title=f"{TITLES[status.stage]}: training run",
        subtitle=f"Run {run_id}, {status.state} after {status.step} of {status.steps} steps. {status.message}",
        sections=(
            *alignment_sections(home, run_id),
            *receipt_sections(folder),
            Section("Training", blocks=training_blocks(jobs, folder, run_id)),
            Section("Recipe", blocks=(facts(recipe, "Everything the run was told", "wide"),)),
            machine_section({}, ""),
        ),
    )
    return write_page(folder / "report.html", page)


def training_blocks(jobs: Jobs, folder: Path, run_id: str) -> tuple[Block, ...]:
    """Loss curves, held-out figures and the arrays a stage left behind (token usage, similarity matrices)."""
    every = jobs.curve(run_id).items()
    curves = {name: points for name, points in every if name not in _NOT_CURVES and not name.startswith(_PER_POSITION)}
    loss = {str(name): curves.pop(name) for name in ("loss", "held_out_loss") if name in curves}
    blocks = [Block("Loss over steps", svg=line_chart(loss or dict(list(curves.items())[:1])))]
    parts = dict(list(curves.items())[:4])
    if loss and parts:
        blocks.append(Block("Parts of the loss and figures on the way", svg=line_chart(parts)))
    blocks += metric_blocks(jobs.status(run_id).stage, jobs.metrics(run_id))
    for path in sorted(folder.glob("report*.npz")):
        blocks += array_blocks(path)
    return tuple(sorted(blocks, key=lambda block: block.shape == "folded"))


def strip_block(view: TakeView, caption: str, stream: str = "", pictures: int = STRIP_PICTURES) -> Block | None:
    """Pictures spread evenly over a take, side by side; None if the take has no picture stream."""
    cameras = [name for name in view.streams if name.startswith("observation.images.")]
    stream = stream or next((name for name in cameras if name.endswith(".front")), cameras[0] if cameras else "")
    if not stream or not view.rows:
        return None
    found: list[Image] = []
    for row in np.linspace(0, view.rows - 1, pictures).round().astype(int):
        picture = view.picture(stream, int(row))
        if picture is not None:
            found.append(_smaller(picture))
    return Block(caption, picture=film_strip(found), shape="wide") if found else None


def facts(values: Mapping[str, Any], caption: str = "", shape: str = "") -> Block:
    """Names and values as a two-column table."""
    rows = tuple((name.replace("_", " "), short(value)) for name, value in values.items())
    return Block(caption, columns=("", ""), rows=rows, shape=shape)


def machine_section(seconds: Mapping[str, float], command: str) -> Section:
    """Where the time went, on what, with which versions."""
    about = {**machine(), **({"command": command} if command else {})}
    blocks = [facts(about, "Machine"), facts(versions(), "Versions")]
    if seconds:
        rows = tuple((name, f"{value:.1f} s") for name, value in seconds.items())
        total = f"{sum(seconds.values()) / 60:.1f} min in all"
        blocks.insert(0, Block(total, columns=("step", "time"), rows=rows))
    return Section("Machine", blocks=tuple(blocks))


def _smaller(picture: NDArray[Any], widest: int = 200) -> Image:
    """Every n-th pixel, so that a strip of large pictures stays a small file."""
    step = max(1, picture.shape[1] // widest)
    return np.asarray(picture[::step, ::step], np.uint8)
