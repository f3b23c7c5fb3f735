"""Plug-ins: one file registers one kind, its Config and the package it needs."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import pkgutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from workbench.core.errors import NotFoundError, WorkbenchError

T = TypeVar("T")
_log = logging.getLogger(__name__)
LOOK_S = 2.0


@dataclass(frozen=True, slots=True)
class Found:
    """One device that is attached now, seen without opening it.

    Attributes:
        id: what tells it from another of its kind: a serial number, a port, an address.
        title: what a person reads, for example the model's name.
        options: the values for the kind's Config that choose this device.
        reason: how it was found and what is wrong with it, if anything ("on USB 2, use a USB 3 port").
    """

    id: str
    title: str
    options: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Plugin(Generic[T]):
    """One registered kind.

    Attributes:
        kind: the word used in settings.
        title: what a person reads.
        config: a frozen dataclass; its fields make the settings form.
        build: makes the object from a config; imports the vendor package only when it is opened.
        needs: the importable package it cannot work without, or "".
        install: the pip name that provides it.
        discover: looks for attached devices of this kind without opening or moving any; ask by ``look``. May import
            the vendor package. None: the kind cannot be searched for.
        identity: the option that names one device ("serial"). Only where ``discover`` sees every device that could be
            used, so that a device it does not see is known to be absent.
    """

    kind: str
    title: str
    config: type
    build: Callable[[Any], T]
    needs: str = ""
    install: str = ""
    discover: Callable[[], Sequence[Found]] | None = None
    identity: str = ""

    def missing_reason(self) -> str:
        """Why this kind cannot be used here, or "" if it can."""
        if self.needs and importlib.util.find_spec(self.needs) is None:
            return f"needs the Python package '{self.install or self.needs}'"
        return ""

    def look(self, timeout_s: float = LOOK_S) -> tuple[Found, ...] | None:
        """The devices attached now; None if the kind cannot be searched for or the search failed or took too long.

        Never raises and returns after ``timeout_s`` at the latest: a vendor library that hangs is left behind in its
        own thread.
        """
        if self.discover is None or self.missing_reason():
            return None
        found: list[tuple[Found, ...]] = []
        thread = threading.Thread(
            target=_look, args=(self.kind, self.discover, found), name=f"look-{self.kind}", daemon=True
        )
        thread.start()
        thread.join(timeout_s)
        return found[0] if found else None


def _look(kind: str, discover: Callable[[], Sequence[Found]], found: list[tuple[Found, ...]]) -> None:
    try:
        found.append(tuple(discover()))
    except Exception as error:  # a vendor library may raise anything; an unfinished search is not the caller's failure
        _log.warning("looking for %s devices failed: %s", kind, error)


def look_all(plugins: Sequence[Plugin[Any]], timeout_s: float = LOOK_S) -> dict[str, tuple[Found, ...] | None]:
    """What ``look`` says for every kind, asked at the same time: takes ``timeout_s``, however many kinds there are."""
    answers: dict[str, tuple[Found, ...] | None] = {}

    def ask(plugin: Plugin[Any]) -> None:
        answers[plugin.kind] = plugin.look(timeout_s)

    threads = [threading.Thread(target=ask, args=(plugin,), daemon=True) for plugin in plugins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


class Registry(Generic[T]):
    """All kinds of one sort of plug-in, found by importing every module of a package once."""

    def __init__(self, noun: str, package: str) -> None:
        self._noun = noun
        self._package = package
        self._plugins: dict[str, Plugin[T]] = {}
        self._discovered = False
        self._lock = threading.RLock()

    def register(self, plugin: Plugin[T]) -> Plugin[T]:
        """Add a kind; registering the same kind twice is a programming error."""
        if plugin.kind in self._plugins:
            raise ValueError(f"{self._noun} kind '{plugin.kind}' is registered twice")
        self._plugins[plugin.kind] = plugin
        return plugin

    def all(self) -> dict[str, Plugin[T]]:
        """Every registered kind by name."""
        self._discover()
        return dict(sorted(self._plugins.items()))

    def get(self, kind: str) -> Plugin[T]:
        """The plug-in of a kind, or NotFoundError with the nearest name."""
        plugins = self.all()
        if kind not in plugins:
            raise NotFoundError.of(f"{self._noun} kind", kind, plugins)
        return plugins[kind]

    def build(self, kind: str, **values: Any) -> T:
        """Make one from plain values, as read from settings."""
        plugin = self.get(kind)
        reason = plugin.missing_reason()
        if reason:
            absent = plugin.needs and importlib.util.find_spec(plugin.needs) is None
            hint = f"Run: pip install {plugin.install}" if absent else ""  # else the reason itself says what to do
            raise WorkbenchError(f"the {self._noun} '{kind}' {reason}", hint)
        try:
            config = plugin.config(**values)
        except TypeError as error:
            raise WorkbenchError(f"wrong settings for the {self._noun} '{kind}' ({error})") from error
        return plugin.build(config)

    def _discover(self) -> None:
        with self._lock:  # whoever comes second waits until every kind is there
            if self._discovered:
                return
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")
            self._discovered = True
