"""Every sentence of the window, found in its sources: those that are translated, and those that were forgotten."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from ui.actions import COMMANDS, MENUS

ROOT = Path(__file__).parents[2]
ONE, TWO = ("t", "mark"), ("tn", "forms")
TECHNICAL_CALLS = frozenset(
    (
        "setObjectName setProperty setStyleSheet setFamilies getLogger getattr findChild TypeVar NewType ParamSpec",
        "property strftime strptime compile sub match search fullmatch import_module get register bind data field",
        "removeprefix removesuffix startswith endswith partition rpartition split replace strip rstrip lstrip",
        "encode decode open Path joinpath with_suffix write_text read_text print QKeySequence QByteArray keep of",
        "debug info warning exception critical ValueError TypeError KeyError RuntimeError AttributeError OSError",
        "NotImplementedError",
    )
)
TECHNICAL_CALLS = frozenset(name for line in TECHNICAL_CALLS for name in line.split())
TECHNICAL_KEYWORDS = frozenset(("lane", "role", "name", "prefix", "tall", "key", "mode", "side", "encoding", "target"))
TECHNICAL_TABLES = frozenset(("COMMANDS", "MENUS", "_SHEET", "__all__", "__slots__", "PAGES"))
_WORDS = re.compile(r"[A-Za-z]{2,}[ ,.:;!?…]+[A-Za-z]|^[▲✔✘●○?#•\W]*[A-Z][a-z]+")
_PIECE = re.compile(r"(?<![\w#&.<{-])[A-Za-z]{2,}")
_NOT_WORDS = re.compile(r"^[\w.:/-]*[_./:][\w.:/-]*$|[{};]|</?[a-z]|:\s*#|^#[0-9a-f]+$")
_UNITS = frozenset(
    ("px", "ms", "fps", "Hz", "kB", "MB", "GB", "TB", "mm", "cm", "rad", "deg", "dB", "Nm", "Ctrl", "nbsp")
)


@dataclass
class Sentence:
    """One entry of a catalogue: the key, its plural form ("" for none), and where it is said."""

    one: str
    many: str = ""
    places: list[str] = field(default_factory=list)


@cache
def collect() -> dict[str, Sentence]:
    """All keys by their (singular) text, in the order of the sources."""
    found: dict[str, Sentence] = {}

    def add(place: str, one: str, many: str = "") -> None:
        sentence = found.setdefault(one, Sentence(one, many))
        sentence.many = sentence.many or many
        if place not in sentence.places:
            sentence.places.append(place)

    for command in COMMANDS:
        add("ui/actions.py", command.text)
        add("ui/actions.py", command.hint)
    for title, _ in MENUS:
        add("ui/actions.py", title.rpartition(">")[2])
    for path in sources():
        for node in nodes(path):
            if isinstance(node, ast.Call) and (texts := _texts(node) or _named(node, path)):
                add(str(path.relative_to(ROOT)), *texts)
    return found


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Everything in a parsed file."""
    return tuple(ast.walk(ast.parse(path.read_text())))


def sources() -> list[Path]:
    """The files of the window."""
    return sorted((ROOT / "ui").rglob("*.py"))


def _texts(call: ast.Call) -> tuple[str, ...]:
    """The literal keys of a call of the translator."""
    wanted = 1 if _name(call) in ONE else 2 if _name(call) in TWO else 0
    texts = [
        part.value for part in call.args[:wanted] if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]
    return tuple(texts) if wanted and len(texts) == wanted and texts[0] else ()


def _named(call: ast.Call, path: Path) -> tuple[str, ...]:
    """The key of ``mark(NAME)``: a sentence that a service made and the window shows."""
    if _name(call) != "mark" or not (call.args and isinstance(call.args[0], ast.Name)):
        return ()
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    value = getattr(module, call.args[0].id, None)
    return (value,) if isinstance(value, str) else ()


def forgotten(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of what looks like a sentence for people but does not go through the translator."""
    yield from forgotten_among(nodes(path))


def forgotten_among(parsed: Collection[ast.AST]) -> Iterator[tuple[int, str]]:
    """As ``forgotten``, of a parsed file's nodes."""
    parents = {child: node for node in parsed for child in ast.iter_child_nodes(node)}
    for node in parsed:
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        piece = isinstance(parents.get(node), ast.JoinedStr)
        if (_piece_of_sentence if piece else _sentence)(node.value) and not _technical(node, parents):
            yield node.lineno, node.value


def _sentence(text: str) -> bool:
    return bool(_WORDS.search(text)) and not _NOT_WORDS.search(text)


def _piece_of_sentence(text: str) -> bool:
    return any(word not in _UNITS for word in _PIECE.findall(text)) and not _NOT_WORDS.search(text)


def _technical(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Docstrings, keys, names, log lines, style sheets, tables that are translated where they are shown."""
    child, above = node, parents.get(node)
    while above is not None:
        if isinstance(above, ast.Call) and child is not above.func:
            name = _name(above)
            if name in (*ONE, *TWO) or name in TECHNICAL_CALLS:
                return True
        if isinstance(above, ast.keyword) and above.arg in TECHNICAL_KEYWORDS:
            return True
        if isinstance(above, ast.Expr | ast.Compare | ast.Subscript | ast.AnnAssign) and _is_technical(above, child):
            return True
        if isinstance(above, ast.Dict) and child in above.keys:
            return True
        if isinstance(above, ast.Assign | ast.AnnAssign) and _target(above) in TECHNICAL_TABLES:
            return True
        child, above = above, parents.get(above)
    return False


def _is_technical(above: ast.AST, child: ast.AST) -> bool:
    if isinstance(above, ast.Expr):
        return isinstance(child, ast.Constant)  # a docstring
    if isinstance(above, ast.Subscript):
        return child is above.slice
    if isinstance(above, ast.AnnAssign):
        return child is above.annotation
    return True


def _name(call: ast.Call) -> str:
    func = call.func
    return func.id if isinstance(func, ast.Name) else func.attr if isinstance(func, ast.Attribute) else ""


def _target(assign: ast.Assign | ast.AnnAssign) -> str:
    target = assign.targets[0] if isinstance(assign, ast.Assign) else assign.target
    return target.id if isinstance(target, ast.Name) else ""
