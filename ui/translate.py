"""The window's language: every sentence on screen goes through ``t``; catalogues are gettext files in ``languages/``.

English sentences are the keys, so a missing translation shows English. Tables that are built when a module is
imported hold English, marked with ``mark``, and are translated where they are shown.
"""

from __future__ import annotations

import gettext
import os
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent / "languages"
LANGUAGES: dict[str, str] = {"en": "English", "zh_CN": "简体中文"}  # each called as its speakers call it
SYSTEM = "system"
VARIABLE = "WORKBENCH_LANGUAGE"
_DOMAIN = "window"
_THIN_SPACE = "\u2009"
_catalogue: gettext.NullTranslations = gettext.NullTranslations()
_language = "en"


def use(language: str) -> bool:
    """Speak ``language`` ("zh_CN", "en") from now on; False, and English, if there is no catalogue of it.

    Widgets that exist keep their words: call it before the window is made.
    """
    global _catalogue, _language
    _catalogue = gettext.translation(_DOMAIN, FOLDER, [language], fallback=True)
    found = isinstance(_catalogue, gettext.GNUTranslations)
    _language = language if found else "en"
    return found


def language() -> str:
    """The language spoken now, one of ``LANGUAGES``."""
    return _language


def wanted(kept: str, system: Iterable[str]) -> str:
    """The language to speak: the environment's, else the kept choice, else the first of the system's that there is.

    Args:
        kept: what the user chose, one of ``LANGUAGES`` or ``SYSTEM``; anything else counts as ``SYSTEM``.
        system: the desktop's languages, most wanted first, in any common spelling ("zh-Hans-CN", "de_DE.UTF-8").
    """
    for name in (os.environ.get(VARIABLE, ""), kept, *system):
        found = known(name)
        if found:
            return found
    return "en"


def known(name: str) -> str:
    """Which of ``LANGUAGES`` is meant by a name, "" for none: the first part decides, whatever the country."""
    first = name.replace("-", "_").partition("_")[0].lower()
    return next((language for language in LANGUAGES if language.partition("_")[0] == first), "")


def t(text: str, /, **values: object) -> str:
    """``text`` in the window's language, with ``{names}`` filled in: ``t("{n} takes chosen", n=3)``."""
    translated = _catalogue.gettext(text) if text else ""
    return translated.format(**values) if values else translated


def tn(one: str, many: str, n: int, /, **values: object) -> str:
    """The form that fits the count ``n``, which may be named ``{n}`` in both: ``1 take``, ``1 200 takes``."""
    grouped = f"{n:,}".replace(",", _THIN_SPACE)
    return _catalogue.ngettext(one, many, n).format(n=grouped, **values)


def mark(text: str, /) -> str:
    """The same text; tells the collector of sentences that it is shown somewhere through ``t``."""
    return text


def forms(one: str, many: str, /) -> tuple[str, str]:
    """The same texts; tells the collector that they are shown somewhere through ``tn``."""
    return one, many
