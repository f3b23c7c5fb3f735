"""Instruction vectors: meaning survives paraphrase and typing errors, roles stay apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.text import MANNER, PLACE, TEXT_SIZE, THING, embed, embed_roles, mend, nearest, similarity

KNOWN = tuple(
    f"put the {thing} on the {place}"
    for thing in ("red cube", "green cube", "blue cylinder", "yellow ball")
    for place in ("white plate", "black box", "purple pad")
)


def test_is_a_unit_vector_and_the_same_every_time() -> None:
    first = embed("put the red cube on the white plate")
    assert first.shape == (TEXT_SIZE,)
    assert first.dtype == np.float32
    assert np.linalg.norm(first) == pytest.approx(1.0, abs=1e-5)
    assert np.array_equal(first, embed("Put the RED cube on the white plate!"))


def test_value_is_stable_across_machines_and_versions() -> None:
    values = embed("put the red cube on the white plate")
    assert np.flatnonzero(values > 0)[:12].tolist() == [2, 3, 6, 7, 10, 11, 15, 16, 18, 24, 25, 26]


@pytest.mark.parametrize(
    "said",
    [
        "place the red cube onto the white plate",
        "please move the red cube to the place on the white plate",
        "take the red cube and put it on the white plate",
        "put the red cub on the whit plate",
        "put the red cube on the shiny white plate",
        "put the red gizmo on the white plate",
    ],
)
def test_paraphrases_and_typing_errors_find_their_instruction(said: str) -> None:
    found, cosine = nearest(said, KNOWN)
    assert found == "put the red cube on the white plate"
    assert cosine > 0.5


def test_roles_keep_swapped_colours_apart() -> None:
    same = similarity("put the red cube on the blue plate", "place the red cube onto the blue plate")
    swapped = similarity("put the red cube on the blue plate", "put the blue cube on the red plate")
    assert same > 0.95
    assert swapped < 0.75


def test_roles_are_told_apart_and_do_not_touch_one_another() -> None:
    red = embed_roles("put the red cube on the white plate")
    for part in (THING, PLACE, MANNER):
        assert np.linalg.norm(red[part]) == pytest.approx(1.0, abs=1e-5)
    other = embed_roles("place the red cube onto the black box")
    assert np.array_equal(red[THING], other[THING]) and np.array_equal(red[MANNER], other[MANNER])
    assert float(red[PLACE] @ other[PLACE]) < 0.3
    assert float(red[THING] @ embed_roles("put the white plate on the red cube")[THING]) < 0.5
    opened, shut = embed_roles("open the drawer"), embed_roles("close the drawer")
    assert np.array_equal(opened[THING], shut[THING]) and not opened[PLACE].any()
    assert float(opened[MANNER] @ shut[MANNER]) < 0.6
    assert float(red[THING] @ embed_roles("put the red cub on the white plate")[THING]) > 0.4


def test_a_noun_that_is_a_verb_elsewhere_is_a_thing() -> None:
    screw, plug = embed_roles("put the screw on the tray"), embed_roles("put the plug on the tray")
    assert np.array_equal(screw[MANNER], plug[MANNER]) and float(screw[THING] @ plug[THING]) < 0.5
    both, put = embed_roles("pick up the plug and insert it into the socket"), embed_roles("pick up the plug")
    assert np.array_equal(both[THING], put[THING]) and not np.array_equal(both[MANNER], put[MANNER])


@given(st.text(max_size=60))
def test_any_sentence_has_finite_parts_of_length_one_or_zero(said: str) -> None:
    vector = embed_roles(said)
    for part in (THING, PLACE, MANNER):
        length = float(np.linalg.norm(vector[part]))
        assert length == 0.0 or length == pytest.approx(1.0, abs=1e-4)


def test_sharing_the_object_is_closer_than_sharing_nothing() -> None:
    base = "put the red cube on the white plate"
    assert similarity(base, "put the red cube on the black box") > similarity(
        base, "put the blue ball on the black box"
    )


@given(st.text(max_size=80))
def test_any_text_gives_finite_numbers(text: str) -> None:
    values = embed(text)
    assert np.all(np.isfinite(values))
    assert np.linalg.norm(values) <= 1.0 + 1e-5


def test_no_words_gives_zero_and_nothing_known_gives_nothing() -> None:
    assert not embed("  ... !").any()
    assert nearest("put", ()) == ("", 0.0)


def test_misspelt_words_are_mended_and_new_words_are_left_alone() -> None:
    assert mend("put the rde cub on the Whit plaet", KNOWN) == "put the red cube on the white plate"
    assert mend("put the orange triangle on the white plate", KNOWN) == "put the orange triangle on the white plate"
    assert mend("Place the red cube onto the white plate!", KNOWN) == "Place the red cube onto the white plate!"
    assert mend("anything", ()) == "anything"
