"""A headless Chromium, driven by its DevTools protocol: what a page shows to people, and what it complains of."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--headless",
    "--no-sandbox",  # tests run as root, where Chromium's own sandbox does not
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--window-size=1200,800",
    "--remote-debugging-pipe",
)


def program() -> str | None:
    """Where a Chromium is; None where there is none."""
    return next(filter(None, map(shutil.which, _PROGRAMS)), None)


class Page:
    """One tab. `complaints` are errors, uncaught ones and those of the content security policy included."""

    def __init__(self, devtools: "_Pipe") -> None:
        self._devtools = devtools
        self._number = 0
        self._tab: dict[str, str] = {}
        self.complaints: list[str] = []
        tab = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=tab, flatten=True)
        self._tab = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """What an expression is, in the page."""
        told = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def until(self, script: str, seconds: float = 40) -> Any:
        """The expression, once it is true."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < deadline, (
                f"not within {seconds:g} s: {script}\n{self.run('document.body.innerText')}"
            )
            time.sleep(0.05)
        return value

    def type(self, selector: str, text: str) -> None:
        """As somebody with a keyboard does."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def press_enter(self) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key="Enter", text="\r", windowsVirtualKeyCode=13)

    def click(self, selector: str) -> None:
        """With the mouse, in the middle of it: what covers it gets the click instead."""
        middle = self.until(
            f"(box => box && box.width ? [box.x + box.width / 2, box.y + box.height / 2] : null)"
            f"(document.querySelector({json.dumps(selector)})?.getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=middle[0], y=middle[1], button="left", clickCount=1)

    def screenshot(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        self._devtools.send({"id": self._number, "method": method, "params": parameters, **self._tab})
        while True:
            told = self._devtools.receive()
            if told.get("id") == self._number:
                assert "error" not in told, told
                return told["result"]
            self._note(told)

    def _note(self, told: dict[str, Any]) -> None:
        about = told.get("params", {})
        if told["method"] == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(about["exceptionDetails"]))
        elif told["method"] == "Log.entryAdded" and about["entry"]["level"] == "error":
            self.complaints.append(f"{about['entry']['source']}: {about['entry']['text']}")


@contextmanager
def a_page(profile: Path) -> Iterator[Page]:
    """A fresh browser with one empty tab, which ends with us; `profile` is a folder of its own."""
    found = program()
    assert found, "no Chromium is installed (make install)"
    # It reads commands from 3 and answers on 4, and ends when 3 does, also where a test run is killed.
    words = ["sh", "-c", 'exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null', found, *_OPTIONS]
    with (profile / "output").open("ab") as output:
        browser = subprocess.Popen(
            [*words, f"--user-data-dir={profile}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            bufsize=0,
        )
    with browser:  # closes the pipes, then waits
        yield Page(_Pipe(browser))


class _Pipe:
    """DevTools' messages: JSON, each ended by a NUL."""

    def __init__(self, browser: "subprocess.Popen[bytes]") -> None:
        assert browser.stdin
        assert browser.stdout
        self._to, self._from = browser.stdin, browser.stdout
        self._read = b""

    def send(self, message: dict[str, Any]) -> None:
        self._to.write(json.dumps(message).encode() + b"\0")

    def receive(self, seconds: float = 30) -> dict[str, Any]:
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._from], [], [], seconds)
            part = os.read(self._from.fileno(), 1 << 20) if ready else b""
            assert part, f"the browser said nothing for {seconds:g} s, or ended"
            self._read += part
        text, _, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message
