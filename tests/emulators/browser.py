"""A headless Chromium steered over its own debugging protocol, for what only a real browser can show."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

from websockets.sync.client import connect

PROGRAM = next(
    (found for name in ("chromium", "google-chrome", "chromium-browser") if (found := shutil.which(name))), ""
)


class Browser:
    """One page. Certificates are accepted as a person would accept the self-made one."""

    def __init__(self, folder: Path) -> None:
        self._ids = itertools.count(1)
        self._open = ExitStack()
        self._process = subprocess.Popen(
            [
                *(PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
                *("--no-first-run", "--ignore-certificate-errors", "--remote-debugging-port=0"),
                *(f"--user-data-dir={folder}", "--window-size=900,900", "about:blank"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._open.callback(self._end)
        try:
            port, path = self._address(folder / "DevToolsActivePort")
            self._socket = self._open.enter_context(
                connect(f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None, open_timeout=20)
            )
            target = self._ask("Target.createTarget", url="about:blank")["targetId"]
            self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            self.ask("Page.enable")
        except BaseException:
            self.close()
            raise

    def ask(self, method: str, **values):
        return self._ask(method, sessionId=self._session, **values)

    def go(self, url: str, before: str = "") -> None:
        """Open a page; ``before`` runs before the page's own scripts."""
        if before:
            self.ask("Page.addScriptToEvaluateOnNewDocument", source=before)
        self.ask("Page.navigate", url=url)

    def run(self, script: str):
        answer = self.ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def touch(self, kind: str, *points: tuple[float, float]) -> None:
        """touchStart, touchMove or touchEnd with these fingers on the glass."""
        fingers = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        self.ask("Input.dispatchTouchEvent", type=kind, touchPoints=fingers)

    def middle_of(self, name: str) -> tuple[float, float]:
        middle = "(b => [b.left + b.width / 2, b.top + b.height / 2])"
        x, y = self.run(f"{middle}(document.getElementById('{name}').getBoundingClientRect())")
        return x, y

    def close(self) -> None:
        self._open.close()

    def _ask(self, method: str, **values):
        number = next(self._ids)
        session = values.pop("sessionId", None)
        message = {"id": number, "method": method, "params": values, **({"sessionId": session} if session else {})}
        self._socket.send(json.dumps(message))
        while (answer := json.loads(self._socket.recv(timeout=30))).get("id") != number:
            pass
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return answer["result"]

    def _address(self, file: Path) -> tuple[int, str]:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if file.exists() and len(lines := file.read_text().splitlines()) == 2:
                return int(lines[0]), lines[1]
            time.sleep(0.1)
        raise AssertionError("the browser did not start")

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
