"""The figures of an alignment's report as a table for people."""

from __future__ import annotations

from dataclasses import dataclass

from ui.theme import Theme
from ui.translate import mark, t
from ui.widgets.rows import Column, RowsModel
from workbench.services.alignment_figures import Figure
from workbench.services.alignment_report import AlignmentReport, shown, shown_interval

WORDS: dict[str, str] = {
    "retrieval_top1": mark("Own action found first"),
    "retrieval_top5": mark("Among the first five"),
    "token_accuracy": mark("Tokens right"),
    "decoded_rmse_mm": mark("Error of the motion read off"),
    "decoded_final_mm": mark("The same at its end"),
    "decoded_r2": mark("Motion read off (R2)"),
    "decoded_switch_found": mark("Opening and closing found"),
    "decoded_switch_off_ms": mark("How far off in time"),
    "human_r2": mark("Hand's motion read off (R2)"),
    "human_used": mark("Codes used for people's clips"),
    "human_perplexity": mark("Perplexity of people's clips"),
    "probe_action_r2": mark("By the action latents (R2)"),
    "probe_irrelevant_r2": mark("By the irrelevant latents (R2)"),
    "probe_difference_r2": mark("By the pictures' difference (R2)"),
    "swap_agreement": mark("Kept on other backgrounds"),
    "swap_sham": mark("Kept when only cut out"),
    "swap_noise": mark("Kept under a camera's noise"),
    "swap_moved_mm": mark("Moved by other backgrounds"),
    "swap_noise_mm": mark("Moved by a camera's noise"),
    "codec_rmse_mm": mark("Error of the codebook itself"),
    "codec_rmse_deg": mark("Its error of rotation"),
    "codec_switch_found": mark("Opening and closing it keeps"),
    "codec_switch_off_ms": mark("How far off in time"),
    "codes_used": mark("Codes in use"),
    "codes_dead": mark("Dead codes"),
    "perplexity": mark("Perplexity"),
}
AGAINST: dict[str, str] = {
    "picking blindly": mark("a blind guess"),
    "always the commonest token": mark("the commonest token"),
    "always the mean motion": mark("the mean motion"),
    "codes in the book": mark("in the book"),
    "robot pictures": mark("robot pictures"),
    "a probe of wrong rows": mark("wrong rows"),
    "tokens of another take's window": mark("another take"),
    "another take's window": mark("another take"),
    "all codes equally often": mark("all equally often"),
}
_FIRST = (
    "retrieval_top1",
    "retrieval_top5",
    "human_r2",
    "decoded_rmse_mm",
    "decoded_r2",
    "token_accuracy",
    "swap_agreement",
    "probe_action_r2",
    "probe_irrelevant_r2",
    "codec_rmse_mm",
    "perplexity",
    "codes_dead",
)


@dataclass(frozen=True, slots=True)
class FigureRow:
    """One line: a figure, and the same of the control that was trained beside, "" without one."""

    figure: Figure
    control: str


def figures_model(theme: Theme) -> RowsModel[FigureRow]:
    """What matters most first."""
    columns: tuple[Column[FigureRow], ...] = (
        Column(t("Figure"), lambda r: t(WORDS.get(r.figure.name, r.figure.words))),
        Column(t("Value"), lambda r: shown(r.figure.value, r.figure.unit), 86, lambda r: verdict(r.figure)),
        Column(t("95 % of takes"), lambda r: shown_interval(r.figure), 142),
        Column(t("Compare"), compared, 208),
        Column(t("Windows"), lambda r: f"{r.figure.n}", 96),
    )
    return RowsModel(theme, columns, lambda r: r.figure.name, _tip)


def figure_rows(report: AlignmentReport) -> tuple[FigureRow, ...]:
    """All figures of a report, the telling ones in front."""
    every = {figure.name: figure for group in report.groups for figure in group.figures}
    order = [name for name in _FIRST if name in every] + [name for name in every if name not in _FIRST]
    return tuple(FigureRow(every[name], _control(report, name)) for name in order)


def verdict(figure: Figure) -> str:
    """A colour only where the interval lies wholly on one side of what it is compared with."""
    if figure.value is None or figure.baseline is None or figure.interval is None or figure.high_is_good is None:
        return ""
    low, high = figure.interval
    if low <= figure.baseline <= high:
        return "warn"
    return "good" if (low > figure.baseline) == figure.high_is_good else "bad"


def compared(row: FigureRow) -> str:
    """``0.9 %: picking blindly``, and the control's figure if there was one."""
    figure = row.figure
    parts = []
    if figure.baseline is not None:
        parts.append(f"{shown(figure.baseline, figure.unit)}: {t(AGAINST.get(figure.against, figure.against))}")
    if row.control:
        parts.append(t("control {value}", value=row.control))
    return "; ".join(parts)


def as_text(rows: tuple[FigureRow, ...]) -> str:
    """The table with tabs, for pasting elsewhere."""
    head = "\t".join((t("Figure"), t("Value"), t("95 % of takes"), t("Compare"), t("Windows"), t("Takes")))
    lines = [
        "\t".join(
            (
                t(WORDS.get(row.figure.name, row.figure.words)),
                shown(row.figure.value, row.figure.unit),
                shown_interval(row.figure),
                compared(row),
                str(row.figure.n),
                str(row.figure.takes),
            )
        )
        for row in rows
    ]
    return "\n".join([head, *lines])


def _tip(row: FigureRow) -> str:
    return f"{t(WORDS.get(row.figure.name, row.figure.words))}\n{compared(row)}"


_CONTROL = {
    "decoded_rmse_mm": "decode_rmse_mm",
    "decoded_r2": "decode_r2",
    "token_accuracy": "token_accuracy",
    "probe_action_r2": "probe_r2",
    "probe_irrelevant_r2": "probe_r2_irrelevant",
}


def _control(report: AlignmentReport, name: str) -> str:
    """The control's figure where it is the same one; its retrieval was measured among more windows, so it is not."""
    control = report.metrics.get("control") or {}
    value = control.get(_CONTROL.get(name, ""))
    figure = report.figure(name)
    return shown(float(value), figure.unit) if isinstance(value, int | float) and figure is not None else ""
