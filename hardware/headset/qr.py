"""A QR code as text, so that nobody has to type a token on a headset. ISO/IEC 18004: bytes, level L, one block, mask 0.

Versions 2 to 5 are enough for an address (up to 106 bytes) and need neither interleaving nor version information.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.bool_]
_CODEWORDS = {2: (34, 10), 3: (55, 15), 4: (80, 20), 5: (108, 26)}  # version: data, correction
_FORMAT = 0b111011111000100  # level L, mask 0
_QUIET = 4
_BLOCKS = " \u2580\u2584\u2588"  # nothing, upper half, lower half, both
_FINDER = np.pad(np.pad(np.ones((3, 3), bool), 1), 1, constant_values=True)
_ALIGNMENT = np.pad(np.pad(np.ones((1, 1), bool), 1), 1, constant_values=True)


def qr_grid(text: str) -> Grid:
    """(S, S) True where dark, without the quiet zone. ValueError if the text is too long."""
    data = text.encode()
    version = next((v for v, (room, _) in _CODEWORDS.items() if len(data) + 2 <= room), 0)
    if not version:
        raise ValueError(f"{len(data)} bytes do not fit into this code")
    room, extra = _CODEWORDS[version]
    bits = f"0100{len(data):08b}" + "".join(f"{byte:08b}" for byte in data) + "0000"
    words = [int(bits[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(bits), 8)]
    words += [(0xEC, 0x11)[i % 2] for i in range(room - len(words))]
    grid, taken = _frame(17 + 4 * version)
    _fill(grid, taken, "".join(f"{word:08b}" for word in words + _correction(words, extra)))
    return grid


def qr_text(text: str) -> str:
    """The code for a dark terminal: two rows of it per line, light drawn, dark left out."""
    light = ~np.pad(qr_grid(text), _QUIET)
    rows = np.pad(light, ((0, len(light) % 2), (0, 0)))
    pairs = zip(rows[::2], rows[1::2])
    return "\n".join("".join(_BLOCKS[up + 2 * down] for up, down in zip(*pair)) for pair in pairs)


def _frame(size: int) -> tuple[Grid, Grid]:
    """The fixed patterns with the format, and which modules they take."""
    grid, taken = np.zeros((size, size), bool), np.zeros((size, size), bool)
    for row, column in ((0, 0), (0, size - 7), (size - 7, 0)):
        taken[max(0, row - 1) : row + 8, max(0, column - 1) : column + 8] = True
        grid[row : row + 7, column : column + 7] = _FINDER
    grid[size - 9 : size - 4, size - 9 : size - 4] = _ALIGNMENT
    taken[size - 9 : size - 4, size - 9 : size - 4] = True
    grid[6, 8 : size - 8] = grid[8 : size - 8, 6] = np.arange(8, size - 8) % 2 == 0
    taken[6, :] = taken[:, 6] = True
    around = [(8, c) for c in (0, 1, 2, 3, 4, 5, 7, 8)] + [(r, 8) for r in (7, 5, 4, 3, 2, 1, 0)]
    across = [(r, 8) for r in range(size - 1, size - 8, -1)] + [(8, c) for c in range(size - 8, size)]
    for i, (first, second) in enumerate(zip(around, across)):
        grid[first] = grid[second] = bool(_FORMAT >> (14 - i) & 1)
        taken[first] = taken[second] = True
    grid[size - 8, 8] = taken[size - 8, 8] = True
    return grid, taken


def _fill(grid: Grid, taken: Grid, bits: str) -> None:
    """Pairs of columns from the right, up and down in turn, around everything taken; mask 0 turns every second one."""
    size, at = len(grid), 0
    for turn, right in enumerate([*range(size - 1, 6, -2), 5, 3, 1]):
        for row in range(size) if turn % 2 else range(size - 1, -1, -1):
            for column in (right, right - 1):
                if not taken[row, column]:
                    bit = at < len(bits) and bits[at] == "1"
                    grid[row, column] = bit ^ ((row + column) % 2 == 0)
                    at += 1


def _correction(words: list[int], count: int) -> list[int]:
    """Reed-Solomon codewords over GF(256) with x^8 + x^4 + x^3 + x^2 + 1."""
    generator = [1]
    root = 1
    for _ in range(count):
        longer = [*generator, 0]
        for i, factor in enumerate(generator):
            longer[i + 1] ^= _times(factor, root)
        generator, root = longer, _times(root, 2)
    rest = words + [0] * count
    for i in range(len(words)):
        lead = rest[i]
        for j, factor in enumerate(generator):
            rest[i + j] ^= _times(factor, lead)
    return rest[-count:]


def _times(a: int, b: int) -> int:
    result = 0
    while b:
        result ^= a if b & 1 else 0
        a, b = (a << 1) ^ (0x11D if a & 0x80 else 0), b >> 1
    return result
