"""The window's language: every sentence on screen goes through ``t``; catalogues are gettext files in ``languages/``.

English sentences are the keys, so a missing translation shows English. Tables that are built when a module is
imported hold English, marked with ``mark``, and are translated where they are shown.
"""

from __future__ import annotations

import gettext
from pathlib import Path

FOLDER = Path(__file__).parent / "languages"
_DOMAIN = "window"
_THIN_SPACE = "\u2009"
_catalogue: gettext.NullTranslations = gettext.NullTranslations()


def use(language: str) -> bool:
    """Speak ``language`` ("zh_CN", "en") from now on; False, and English, if there is no catalogue of it.

    Widgets that exist keep their words: call it before the window is made.
    """
    global _catalogue
    _catalogue = gettext.translation(_DOMAIN, FOLDER, [language], fallback=True)
    return isinstance(_catalogue, gettext.GNUTranslations)


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
