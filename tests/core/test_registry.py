from __future__ import annotations

import sys
import textwrap
import threading
import time
from dataclasses import dataclass

import pytest

from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.registry import Found, Plugin, Registry, look_all


@dataclass(frozen=True)
class Config:
    size: int = 1


def plugin(kind: str, needs: str = "", install: str = "") -> Plugin:
    return Plugin(kind, kind.title(), Config, lambda config: ("built", kind, config.size), needs, install)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An importable package to discover plug-ins in; returns a function that adds a module."""
    folder = tmp_path / "plugs_for_test"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from workbench.core.registry import Registry\nR = Registry('gadget', __name__)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield lambda name, text: (folder / f"{name}.py").write_text(textwrap.dedent(text))
    for name in [name for name in sys.modules if name.startswith("plugs_for_test")]:
        del sys.modules[name]


def module(kind: str, before: str = "") -> str:
    return f"""
        {before}
        from dataclasses import dataclass
        from plugs_for_test import R
        from workbench.core.registry import Plugin

        @dataclass(frozen=True)
        class Config:
            size: int = 1

        R.register(Plugin("{kind}", "{kind}", Config, lambda config: config))
    """


def registry() -> Registry:
    import plugs_for_test

    return plugs_for_test.R


def test_every_file_of_the_package_is_found(package):
    package("one", module("zebra"))
    package("two", module("ant"))
    assert list(registry().all()) == ["ant", "zebra"]
    assert registry().build("ant", size=3).size == 3


def test_an_unknown_kind_is_answered_with_the_nearest(package):
    package("one", module("zebra"))
    with pytest.raises(NotFoundError, match=r"no gadget kind named 'zebar'. Did you mean 'zebra'"):
        registry().get("zebar")


def test_a_wrong_setting_is_a_sentence(package):
    package("one", module("zebra"))
    with pytest.raises(WorkbenchError, match=r"wrong settings for the gadget 'zebra'.*colour"):
        registry().build("zebra", colour="red")


def test_the_same_kind_twice_is_refused():
    kinds = Registry("gadget", "tests.core")
    kinds.register(plugin("a"))
    with pytest.raises(ValueError, match="registered twice"):
        kinds.register(plugin("a"))


def test_a_missing_package_is_a_reason_not_a_crash(package):
    package("one", module("zebra"))
    kinds = registry()
    kinds.register(plugin("rare", needs="no_such_package_here", install="no-such"))
    assert kinds.get("rare").missing_reason() == "needs the Python package 'no-such'"
    assert plugin("a", needs="json").missing_reason() == ""
    with pytest.raises(WorkbenchError, match=r"needs the Python package 'no-such'. Run: pip install no-such"):
        kinds.build("rare")


def test_a_broken_file_is_reported_every_time_not_only_once(package):
    package("one", module("zebra"))
    package("two", "raise RuntimeError('broken plug-in')")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken plug-in"):
            registry().all()


def test_two_threads_both_see_every_kind(package):
    package("one", module("zebra", before="import time; time.sleep(0.1)"))
    package("two", module("ant", before="import time; time.sleep(0.1)"))
    kinds, seen = registry(), []
    threads = [threading.Thread(target=lambda: seen.append(list(kinds.all()))) for _ in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert seen == [["ant", "zebra"]] * 2


def found_by(discover, identity: str = "") -> Plugin:
    return Plugin("a", "A", Config, lambda config: config, discover=discover, identity=identity)


def test_looking_for_devices_says_what_is_attached():
    one = Found("123", "Camera 5", {"serial": "123"}, "on USB 3.2")
    assert found_by(lambda: [one]).look() == (one,)
    assert found_by(lambda: []).look() == ()


def test_looking_never_raises_and_tells_a_failed_search_from_an_empty_one(caplog):
    def broken():
        raise OSError("the bus is on fire")

    assert found_by(broken).look() is None
    assert "the bus is on fire" in caplog.text
    assert found_by(None).look() is None
    absent = Plugin("b", "B", Config, lambda config: config, "no_such_module_at_all", discover=broken)
    assert absent.look() is None


def test_a_search_that_hangs_is_left_behind_and_does_not_hold_up_the_others():
    release = threading.Event()
    kinds = [
        Plugin(f"slow{i}", "S", Config, lambda config: config, discover=lambda: [Found("x", "X")][: release.wait(30)])
        for i in range(4)
    ]
    quick = found_by(lambda: [Found("q", "Quick")])
    start = time.monotonic()
    answers = look_all([*kinds, quick], timeout_s=0.2)
    assert time.monotonic() - start < 2.0
    release.set()
    assert answers["a"] == (Found("q", "Quick"),)
    assert all(answers[plugin.kind] is None for plugin in kinds)
