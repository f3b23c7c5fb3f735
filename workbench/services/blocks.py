"""The plain values a report page is made of; the template turns them into HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Card:
    """One big number at the top."""

    label: str
    value: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A table cell that is an inline SVG made by ``figures``."""

    svg: str


@dataclass(frozen=True, slots=True)
class Styled:
    """A table cell with a style class of the template."""

    text: str
    style: str


@dataclass(frozen=True, slots=True)
class Block:
    """One figure or table. ``shape``: "" half a row, ``wide`` a whole one, ``square`` small and sharp."""

    caption: str = ""
    picture: str = ""
    svg: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    shape: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    intro: str = ""
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    title: str
    subtitle: str
    cards: tuple[Card, ...] = ()
    sections: tuple[Section, ...] = ()
