"""Pages and charts: complete, self-contained, and safe with any text in them."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.layout import Home
from tests.services.learnable import write_reach
from workbench.services.blocks import Block, Card, Drawn, Page, Section
from workbench.services.figures import bar_chart, film_strip, heat_map, interval_bar, line_chart
from workbench.services.library import Library
from workbench.services.report import facts, render, strip_block
from workbench.services.report_arrays import array_blocks, own_item_matrix


def page_of(*blocks: Block, title: str = "title") -> str:
    return render(Page(title, "subtitle", (Card("label", "1"),), (Section("section", "intro", blocks),)))


def test_texts_are_escaped_and_drawings_are_not() -> None:
    evil = "<script>alert('x')</script>"
    html = page_of(
        Block(evil, columns=(evil,), rows=((evil, Drawn(interval_bar(0.5, 0.2, 0.8))),)),
        facts({evil: evil}),
        title=evil,
    )
    assert "<script" not in html
    assert html.count("<svg") == 1 and "&lt;svg" not in html


def test_a_page_fetches_nothing() -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    html = page_of(Block("a", picture=film_strip([picture])), Block("b", svg=line_chart({"x": ([0, 1], [1, 2])})))
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", html)
    assert "url(" not in html and "@import" not in html


def test_a_film_strip_holds_every_picture_in_order() -> None:
    pictures = [np.full((24, 32, 3), shade, np.uint8) for shade in (20, 120, 220)]
    address = film_strip(pictures, gap_px=8)
    strip = imagecodecs.jpeg_decode(base64.b64decode(address.partition(",")[2]))
    assert strip.shape == (24, 3 * 32 + 2 * 8, 3)
    assert [round(float(strip[12, x].mean()), -1) for x in (16, 56, 96)] == [20, 120, 220]


def test_a_heat_map_is_darkest_at_its_largest_entry() -> None:
    matrix = np.eye(5)
    picture = imagecodecs.png_decode(base64.b64decode(heat_map(matrix, size=50).partition(",")[2]))
    assert picture.shape == (50, 50, 3)
    assert picture[5, 5].sum() < picture[5, 45].sum()


numbers = st.floats(allow_nan=True, allow_infinity=True) | st.just(0.0)


@given(st.lists(st.tuples(numbers, numbers), max_size=30), st.text(max_size=10))
def test_a_chart_of_any_numbers_is_well_formed(points: list[tuple[float, float]], name: str) -> None:
    """NaN, infinities, one point, none, all equal: a chart or nothing, never a broken one."""
    usable = [(x, y) for x, y in points if (abs(x) < 1e300 and abs(y) < 1e300) or x != x or y != y]
    clean_name = "".join(letter for letter in name if letter.isprintable() and letter.isascii())
    svg = line_chart({clean_name: ([x for x, _ in usable], [y for _, y in usable])})
    if svg:
        ElementTree.fromstring(svg)
        assert "nan" not in svg.replace(clean_name, "") and "inf" not in svg.replace(clean_name, "")


def test_bars_of_nothing_used_are_flat_not_broken() -> None:
    root = ElementTree.fromstring(bar_chart(np.zeros(8)))
    assert {bar.get("height") for bar in root.iter("rect")} == {"0.00"}


def test_arrays_of_a_run_become_charts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    chunks = rng.normal(size=(6, 8, 7)).cumsum(axis=1)
    arrays = {"code_counts": np.arange(64), "station.per_step_mm": np.arange(8.0), "deep": np.zeros((2, 2, 2))}
    np.savez(tmp_path / "a.npz", **arrays, **{"station.true": chunks, "station.decoded": chunks + 0.1})
    blocks = array_blocks(tmp_path / "a.npz")
    assert len(blocks) == 3
    for block in blocks:
        assert len(list(ElementTree.fromstring(block.svg))) > 3


@pytest.mark.parametrize("windows", [1, 30, 400])
def test_a_perfect_alignment_is_a_dark_diagonal(windows: int) -> None:
    """Windows with equal token strings share one gallery item; every row must still meet its own column."""
    tokens = np.random.default_rng(1).integers(0, 3, (windows, 4))
    gallery, own = np.unique(tokens, axis=0, return_inverse=True)
    square = own_item_matrix(np.eye(len(gallery))[own.reshape(-1)], tokens, most=20)
    assert np.array_equal(square, np.eye(len(square))) and len(square) == min(20, len(gallery))


@pytest.mark.parametrize("pictures", [1, 8, 200])
def test_a_strip_of_a_real_take(tmp_path: Path, pictures: int) -> None:
    home = Home.open(tmp_path)
    manifest = write_reach(home, 0)
    with Library(home.path).open(manifest.id) as view:
        block = strip_block(view, "reach", pictures=pictures)
    assert block is not None and block.picture.startswith("data:image/jpeg;base64,")
