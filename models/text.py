"""Instructions as vectors, without any downloaded model: hashed words, their roles, and character trigrams.

Every feature of a sentence owns a fixed direction of +-1 numbers taken from a hash, so any two features are almost
orthogonal and nothing has to be learned or stored. Content words are also tagged with their role (the thing handled,
or the place it goes to), which keeps "the red cube on the blue plate" apart from "the blue cube on the red plate".
Trigrams of characters make a misspelt word land near the right one; an unknown word only adds its own small share.

``embed`` adds everything up in one vector; ``embed_roles`` keeps the thing, the place and the manner apart, so that a
network can be shown one of them without the others.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

TEXT_SIZE = 256
THING, PLACE, MANNER = slice(0, 112), slice(112, 224), slice(224, TEXT_SIZE)  # parts of what embed_roles returns

_PARTS = {"thing": THING, "place": PLACE, "verb": MANNER, "manner": MANNER}
_ROLE = re.compile("[:%~]")  # ends the role in a feature's name
_WORD = re.compile(r"[^\W_]+", re.UNICODE)
_EMPTY = frozenset(
    ["a", "an", "the", "of", "please", "now", "then", "and", "it", "its", "this", "that", "up", "with", "your", "to"]
)
_PUT = frozenset(["put", "place", "move", "set", "bring", "lay", "pick", "take", "drop", "grab", "carry", "transfer"])
_TO_PLACE = frozenset(["on", "onto", "upon", "in", "into", "inside", "over", "beside", "near", "at"])
_VERBS = """open close shut push pull press slide turn twist rotate spin flip tilt tip pour stir wipe sweep
scoop shake stack unstack insert plug unplug screw unscrew hang hook fold unfold roll cut peel
squeeze hold hand give throw point touch reach raise lift lower remove empty fill cover uncover sort
align straighten switch lock unlock wait"""
_HOW = """left right front behind above below under top bottom middle upright upside sideways down away slowly
fast quickly gently carefully firmly clockwise counterclockwise half twice"""
_MANNER = frozenset(_WORD.findall(f"{_VERBS} {_HOW}"))  # _PUT's verbs are taken for one and the same
_NOUNS_TOO = frozenset(_WORD.findall(_VERBS))  # a screw, a plug: verbs only where a sentence or a part of it begins
_BEGINS = frozenset(["and", "then"])
_SPELLING = 0.66  # similarity from which a word counts as a misspelling
_ROLE_WEIGHT, _WORD_WEIGHT, _TRIGRAM_WEIGHT, _LETTERS_WEIGHT, _VERB_WEIGHT = 1.0, 0.6, 0.9, 0.6, 0.25


def embed(instruction: str) -> NDArray[np.float32]:
    """The instruction as a unit vector, shape (TEXT_SIZE,), float32; all zeros if it holds no word.

    Deterministic on every machine. Case, punctuation and word order inside a role do not matter.
    """
    total = np.zeros(TEXT_SIZE)
    for feature, weight in _features(instruction):
        total += weight * _direction(feature)
    length = float(np.linalg.norm(total))
    return (total / length if length > 0 else total).astype(np.float32)


def embed_roles(instruction: str) -> NDArray[np.float32]:
    """The instruction in three parts, (TEXT_SIZE,) float32: ``THING``, ``PLACE`` and ``MANNER`` (what to do, and how).

    Each part is a unit vector, or zeros if the sentence says nothing of it. A sentence that is not English, or names no
    place, is all thing.
    """
    total = np.zeros(TEXT_SIZE)
    for feature, weight in _features(instruction, _MANNER):
        part = _PARTS.get(_ROLE.split(feature)[0])
        if part is not None:
            total[part] += weight * _direction(feature)[part]
    for part in _PARTS.values():
        total[part] /= float(np.linalg.norm(total[part])) or 1.0
    return total.astype(np.float32)


def similarity(first: str, second: str) -> float:
    """Cosine between two instructions, -1..1; 1 for the same words in the same roles."""
    return float(embed(first) @ embed(second))


def nearest(instruction: str, known: tuple[str, ...]) -> tuple[str, float]:
    """The known instruction closest to this one and its cosine; ("", 0.0) if none is known."""
    scored = [(similarity(instruction, other), other) for other in known]
    best = max(scored, default=(0.0, ""))
    return best[1], best[0]


def mend(instruction: str, known: Iterable[str]) -> str:
    """The instruction with misspelt words replaced by the words of known instructions they look like.

    Words that are known, or look like none of them, stay as they are: a new thing must not become an old one.
    """
    vocabulary = {word for sentence in known for word in _WORD.findall(sentence.lower())}
    ours = vocabulary | _EMPTY | _PUT | _TO_PLACE

    def fitted(match: re.Match[str]) -> str:
        word = match.group().lower()
        near = [] if word in ours else difflib.get_close_matches(word, sorted(vocabulary), n=1, cutoff=_SPELLING)
        return near[0] if near else match.group()

    return _WORD.sub(fitted, instruction)


def _features(instruction: str, manner: frozenset[str] = frozenset()) -> Iterator[tuple[str, float]]:
    """Named features of a sentence with their weights; words of ``manner`` are neither thing nor place."""
    role, begins = "thing", True
    for word in _WORD.findall(instruction.lower()):
        first, begins = begins, word in _BEGINS or (begins and word in _EMPTY)
        if word in _TO_PLACE:
            role = "place"
        elif word in _PUT:
            role = "thing"
            yield "verb:put", _VERB_WEIGHT
        elif word in manner and (first or word not in _NOUNS_TOO):
            yield f"manner:{word}", _ROLE_WEIGHT
        elif word not in _EMPTY:
            yield f"{role}:{word}", _ROLE_WEIGHT
            yield f"word:{word}", _WORD_WEIGHT
            yield f"{role}%{''.join(sorted(word))}", _LETTERS_WEIGHT  # survives swapped letters
            yield from _trigrams(role, word)


def _trigrams(role: str, word: str) -> Iterator[tuple[str, float]]:
    """Character trigrams of a bounded word; together they weigh as much as one feature."""
    bounded = f"<{word}>"
    pieces = [bounded[at : at + 3] for at in range(len(bounded) - 2)] or [bounded]
    for piece in pieces:
        yield f"{role}~{piece}", _TRIGRAM_WEIGHT / len(pieces) ** 0.5


@lru_cache(maxsize=65_536)
def _direction(feature: str) -> NDArray[np.float64]:
    """A fixed vector of +-1 numbers that belongs to this feature alone."""
    digest = blake2b(feature.encode(), digest_size=TEXT_SIZE // 8).digest()
    return np.unpackbits(np.frombuffer(digest, dtype=np.uint8)).astype(np.float64) * 2.0 - 1.0
