"""Chromium through its DevTools protocol, over a pipe: no port, driver or library. Every wait has a bound."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

TIMEOUT = 60.0  # a busy machine takes its time
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
# Chromium reads commands from file 3 and writes answers to file 4.
START = 'exec "${@:3}" 3<&"$1" 4>&"$2"'

Event = dict[str, Any]


class Page:
    """One page of a browser of its own, and all its events."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._came, self._last, self._session = b"", 0, ""
        self.events: list[Event] = []

    def open(self) -> None:
        """Open an empty page, and listen to what happens in it."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Accessibility", "Log", "Network", "Page", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Send a command and return its result."""
        self._last += 1
        message: Event = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        number, ends = self._last, monotonic() + TIMEOUT
        while (answer := self._read(ends, message)).get("id") != number:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _read(self, ends: float, command: Event) -> Event:
        while b"\0" not in self._came:
            ready, _, _ = select.select([self._answers], [], [], max(0, ends - monotonic()))
            assert ready, f"the browser does not answer {command}"
            more = os.read(self._answers, 1 << 20)
            assert more, "the browser has ended"
            self._came += more
        message, _, self._came = self._came.partition(b"\0")
        answer: Event = json.loads(message)
        return answer

    def go(self, address: str) -> None:
        """Load an address, and return when its scripts have run."""
        self.call("Page.navigate", url=address)
        self.wait_until("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """Return the value of an expression of JavaScript, awaited if it is a promise."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, f"{script}: {result['exceptionDetails']}"
        return result["result"].get("value")

    def wait_until(self, condition: str) -> Any:
        """Return the value of an expression when it is true, looking at it with every frame."""
        loop = f"new Promise(done => {{ const look = () => {{ const value = ({condition}); "
        loop += "value ? done(value) : setTimeout(look, 20) }; look() })"
        return self.run(loop)

    def text(self, selector: str) -> str:
        """Return the text of an element."""
        return str(self.run(f"document.querySelector({json.dumps(selector)}).textContent"))

    def press(self, key: str, times: int = 1) -> None:
        """Press and release a key."""
        for kind in ("rawKeyDown", "keyUp") * times:
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key])

    def type(self, selector: str, text: str) -> None:
        """Type a text into a field in place of its content."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.run(f"{element}.focus(); {element}.select()")
        self.call("Input.insertText", text=text)

    def media(self, **features: str) -> None:
        """Let the page believe in media features; underscores stand for hyphens."""
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=named)

    def size(self, width: int, height: int) -> None:
        """Give the page a window of a size."""
        mobile = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if mobile else 1,
            mobile=mobile,
        )

    def screenshot(self) -> bytes:
        """Return the whole page as PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def events_of(self, method: str) -> list[Any]:
        """Return the parameters of all events of a name so far."""
        self.run("0")  # reads all events that came before its answer
        return [event["params"] for event in self.events if event.get("method") == method]

    def complaints(self) -> list[Any]:
        """Return the errors: of scripts and of the console, and what the policy has blocked."""
        logged = [entry["entry"] for entry in self.events_of("Log.entryAdded")]
        return [
            *self.events_of("Runtime.exceptionThrown"),
            *(each for each in logged if each["level"] == "error"),
        ]

    def controls(self) -> list[tuple[str, str]]:
        """Return role and name of all that can be focused, as assistive technology sees them."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node["name"]["value"]) for node in nodes if "focusable" in _traits(node)
        ]


def _traits(node: Event) -> set[str]:
    """Return the names of what holds for a node of the accessibility tree."""
    return {each["name"] for each in node.get("properties", ()) if each["value"].get("value")}


KEYS = {
    "Backspace": 8,
    "Tab": 9,
    " ": 32,
    "End": 35,
    "Home": 36,
    "ArrowLeft": 37,
    "ArrowRight": 39,
    "ArrowDown": 40,
}


@contextlib.contextmanager
def open_browser(program: str, profile: Path) -> Iterator[Page]:
    """Open a page in a browser of its own that reaches this machine only."""
    here = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    commands, to_send = os.pipe()
    to_read, answers = os.pipe()
    command = [program, *QUIET, here, f"--user-data-dir={profile}"]
    browser = subprocess.Popen(
        ["bash", "-c", START, "bash", str(commands), str(answers), *command],
        pass_fds=(commands, answers),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(commands)
    os.close(answers)
    try:
        page = Page(to_send, to_read)
        page.open()
        yield page
        page.call("Browser.close")
        browser.wait(TIMEOUT)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(browser.pid, signal.SIGKILL)
        browser.wait(TIMEOUT)
        os.close(to_send)
        os.close(to_read)
