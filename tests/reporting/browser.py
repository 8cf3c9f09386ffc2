"""A real Chromium without a window, driven through the pipes of its DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_ANSWERS_WITHIN_S = 60.0
_ENDS_WITHIN_S = 5.0
_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--no-first-run",
    "--remote-debugging-pipe",
)


def found() -> str | None:
    """Where Chromium is, if it is there."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One Chromium process."""

    def __init__(self, binary: str, profile: Path) -> None:
        to_browser, self._send = os.pipe()
        self._receive, from_browser = os.pipe()
        self._kept, self._number = b"", 0
        self.events: list[dict[str, Any]] = []  # of all tabs, in the order in which they came
        actions = [(os.POSIX_SPAWN_DUP2, to_browser, 3), (os.POSIX_SPAWN_DUP2, from_browser, 4)]
        quiet = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in (0, 1, 2)]
        argv = [binary, *_ARGUMENTS, f"--user-data-dir={profile}"]
        environment = {**os.environ, "HOME": str(profile)}
        self._pid = os.posix_spawn(binary, argv, environment, file_actions=actions + quiet, setsid=True)
        os.close(to_browser)
        os.close(from_browser)

    def close(self) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            self.call("Browser.close")
        for stream in (self._send, self._receive):
            os.close(stream)
        until = time.monotonic() + _ENDS_WITHIN_S  # it removes what it has under /tmp
        while time.monotonic() < until and not os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def call(self, method: str, session: str | None = None, **parameters: object) -> dict[str, Any]:
        """Asks for something and waits for the answer."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        os.write(self._send, json.dumps(message).encode() + b"\0")
        answer = self.wait(lambda received: received.get("id") == number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def wait(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first message from now on that is wanted; events are kept."""
        until_s = time.monotonic() + _ANSWERS_WITHIN_S
        while True:
            while b"\0" not in self._kept:
                if not select.select([self._receive], [], [], max(0.0, until_s - time.monotonic()))[0]:
                    raise TimeoutError("Chromium does not answer")
                if not (more := os.read(self._receive, 2**16)):
                    raise OSError("Chromium ended")
                self._kept += more
            line, _, self._kept = self._kept.partition(b"\0")
            received: dict[str, Any] = json.loads(line)
            if "method" in received:
                self.events.append(received)
            if wanted(received):
                return received

    def open(self, url: str, width: int = 1280, height: int = 900) -> Tab:
        """A page, once it is loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session)
        for domain in ("Runtime", "Log", "Page", "Network"):
            tab.call(f"{domain}.enable")
        tab.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        first = len(self.events)
        tab.call("Page.navigate", url=url)
        if not any(tab.is_(event, "Page.loadEventFired") for event in self.events[first:]):
            self.wait(lambda received: tab.is_(received, "Page.loadEventFired"))
        return tab


class Tab:
    """A page that is open."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def is_(self, event: dict[str, Any], method: str) -> bool:
        return event.get("sessionId") == self._session and event.get("method") == method

    def value(self, expression: str) -> Any:
        """What an expression of the page's own language gives, awaited if it must be."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, exceptions and what security policies refused."""
        self.value("0")  # what was said before has arrived after this
        found = []
        for event in self._browser.events:
            parameters = event.get("params", {})
            if self.is_(event, "Runtime.exceptionThrown"):
                found.append(json.dumps(parameters["exceptionDetails"]))
            elif self.is_(event, "Log.entryAdded") and parameters["entry"]["level"] in ("error", "warning"):
                found.append(parameters["entry"]["text"])
            elif self.is_(event, "Runtime.consoleAPICalled") and parameters["type"] in ("error", "warning", "assert"):
                found.append(json.dumps(parameters["args"]))
        return found

    def requests(self) -> list[str]:
        """The addresses that the page asked for."""
        return [
            event["params"]["request"]["url"]
            for event in self._browser.events
            if self.is_(event, "Network.requestWillBeSent")
        ]

    def emulate(self, media: str = "", scheme: str = "light") -> None:
        """Shows the page as on paper (`print`) or on a screen, light or dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Writes what is seen as PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextlib.contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    binary = found()
    assert binary is not None
    browser = Browser(binary, profile)
    try:
        yield browser
    finally:
        browser.close()
