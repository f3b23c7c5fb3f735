"""Plug-ins: one file registers one kind, its Config and the package it needs."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from workbench.core.errors import NotFoundError, WorkbenchError

T = TypeVar("T")


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
    """

    kind: str
    title: str
    config: type
    build: Callable[[Any], T]
    needs: str = ""
    install: str = ""

    def missing_reason(self) -> str:
        """Why this kind cannot be used here, or "" if it can."""
        if self.needs and importlib.util.find_spec(self.needs) is None:
            return f"needs the Python package '{self.install or self.needs}'"
        return ""


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
            raise WorkbenchError(f"the {self._noun} '{kind}' {reason}", f"Run: pip install {plugin.install}")
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
