"""Catalogues of the window's sentences:  python -m tests.ui.catalogue

Collects every sentence into ``ui/languages/window.pot``, brings each language's ``window.po`` up to date (translations
are kept, sentences that are gone are dropped, new ones stand there empty) and compiles it to the ``window.mo`` that the
window reads. Says what is still to be translated.
"""

from __future__ import annotations

import ast
import gettext
import struct
from dataclasses import dataclass, field
from pathlib import Path

from tests.ui.sentences import Sentence, collect
from ui.translate import FOLDER

TEMPLATE = FOLDER / "window.pot"


@dataclass
class Entry:
    """One entry of a catalogue: comments (with their ``#``), key, plural key, and as many texts as there are forms."""

    one: str
    many: str = ""
    texts: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)

    @property
    def fuzzy(self) -> bool:
        return any(line.startswith("#,") and "fuzzy" in line for line in self.comments)

    @property
    def done(self) -> bool:
        return bool(self.texts) and all(self.texts)


def languages() -> list[Path]:
    """Every language's catalogue in words."""
    return sorted(FOLDER.glob("*/LC_MESSAGES/window.po"))


def read(path: Path) -> list[Entry]:
    """The entries of a .po file, the header (key "") first."""
    entries = []
    for block in path.read_text(encoding="utf-8").strip().split("\n\n"):
        entry, text = Entry(""), {"msgid": "", "msgid_plural": ""}
        which = ""
        for line in block.split("\n"):
            if line.startswith("#"):
                entry.comments.append(line)
                continue
            if not line.startswith('"'):
                which, _, line = line.partition(" ")
                text[which] = ""
            text[which] += ast.literal_eval(line)
        entry.one, entry.many = text["msgid"], text["msgid_plural"]
        entry.texts = [words for name, words in text.items() if name.startswith("msgstr")]
        entries.append(entry)
    return entries


def written(entries: list[Entry]) -> str:
    """The text of a .po file."""
    return "\n\n".join("\n".join(_block(entry)) for entry in entries) + "\n"


def _block(entry: Entry) -> list[str]:
    lines = [*entry.comments, f"msgid {_quoted(entry.one)}"]
    if entry.many:
        lines.append(f"msgid_plural {_quoted(entry.many)}")
        return lines + [f"msgstr[{i}] {_quoted(text)}" for i, text in enumerate(entry.texts or [""])]
    return [*lines, f"msgstr {_quoted(entry.texts[0] if entry.texts else '')}"]


def _quoted(text: str) -> str:
    """As gettext writes it: several lines where the text has several."""
    for sign, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\t", "\\t"), ("\r", "\\r")):
        text = text.replace(sign, escaped)
    parts = [f'"{part}"' for part in text.replace("\n", "\\n\0").removesuffix("\0").split("\0")]
    return parts[0] if len(parts) == 1 else "\n".join(['""', *parts])


def compiled(entries: list[Entry]) -> bytes:
    """The bytes of the .mo file: sorted keys and texts with tables of their lengths and places; fuzzy ones left out."""
    pairs: list[tuple[bytes, bytes]] = sorted(
        (
            "\0".join((entry.one, entry.many) if entry.many else (entry.one,)).encode(),
            "\0".join(entry.texts).encode(),
        )
        for entry in entries
        if entry.done and not entry.fuzzy
    )
    count, head = len(pairs), 7 * 4
    start = head + 16 * count
    keys, texts, body = [], [], b""
    for table, blobs in ((keys, [key for key, _ in pairs]), (texts, [text for _, text in pairs])):
        for blob in blobs:
            table += [len(blob), start + len(body)]
            body += blob + b"\0"
    header = struct.pack("<7I", 0x950412DE, 0, count, head, head + 8 * count, 0, start)
    return header + struct.pack(f"<{4 * count}I", *keys, *texts) + body


def template(found: dict[str, Sentence]) -> list[Entry]:
    """Every sentence, untranslated, with the files it is said in (line numbers would change with every edit)."""
    header = Entry("", texts=["Project-Id-Version: CLAP Workbench\nContent-Type: text/plain; charset=UTF-8\n"])
    return [header, *(Entry(s.one, s.many, ["", ""] if s.many else [""], [_places(s)]) for s in found.values())]


def _places(sentence: Sentence) -> str:
    return "#: " + " ".join(sorted(set(sentence.places)))


def merged(old: list[Entry], found: dict[str, Sentence]) -> list[Entry]:
    """A language's catalogue brought up to date; whoever translated a sentence before keeps it."""
    known = {(entry.one, entry.many): entry for entry in old}
    header = known[("", "")]
    entries = [header]
    for sentence in found.values():
        before = known.get((sentence.one, sentence.many), Entry(""))
        remarks = [line for line in before.comments if not line.startswith("#:")]
        texts = before.texts or [""] * (_forms(header) if sentence.many else 1)
        entries.append(Entry(sentence.one, sentence.many, texts, [*remarks, _places(sentence)]))
    return entries


def _forms(header: Entry) -> int:
    line = next(line for line in header.texts[0].splitlines() if line.startswith("Plural-Forms"))
    return int(line.partition("nplurals=")[2].partition(";")[0])


def compiled_path(path: Path) -> Path:
    """Where the .mo beside a .po is."""
    return path.with_suffix(".mo")


def loaded(path: Path) -> gettext.GNUTranslations:
    """A .mo file as the window reads it."""
    with path.open("rb") as file:
        return gettext.GNUTranslations(file)


def main() -> None:
    """Bring all catalogues up to date."""
    found = collect()
    TEMPLATE.write_text(written(template(found)), encoding="utf-8")
    for path in languages():
        entries = merged(read(path), found)
        path.write_text(written(entries), encoding="utf-8")
        compiled_path(path).write_bytes(compiled(entries))
        todo = [entry.one for entry in entries if not entry.done or entry.fuzzy]
        print(f"{path.parents[1].name}: {len(entries) - 1 - len(todo)} of {len(entries) - 1} sentences translated")
        print("".join(f"  {text!r}\n" for text in todo), end="")


if __name__ == "__main__":
    main()
