"""A headless Chromium, driven over a pipe by its own debugging protocol: no package and no port."""

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def chromium() -> str | None:
    """The browser's program: EQUIPOISE_CHROMIUM, or the first that is installed; None without."""
    return os.environ.get("EQUIPOISE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a browser. Messages are JSON, each ended by a zero byte."""

    def __init__(self, program: str) -> None:
        self._profile = tempfile.mkdtemp(prefix="equipoise-browser-")
        (their_in, self._out), (self._in, their_out) = os.pipe(), os.pipe()
        # Above 4, so that neither is overwritten while the browser's 3 and 4 are made of them.
        ends = [fcntl.fcntl(fd, fcntl.F_DUPFD, 16) for fd in (their_in, their_out)]
        os.close(their_in)
        os.close(their_out)

        def wire() -> None:
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--no-proxy-server"]
        self._process = subprocess.Popen(
            [program, *options, "--remote-debugging-pipe", f"--user-data-dir={self._profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=wire,
            pass_fds=(3, 4),
        )
        for end in ends:
            os.close(end)
        self._stream = os.fdopen(self._in, "rb")
        self._number, self._session = 0, ""
        # A browser that hangs is ended, so that reading from it ends too.
        self._watch = threading.Timer(300, self._process.kill)
        self._watch.start()

    def close(self) -> None:
        self._watch.cancel()
        self._process.kill()
        self._process.wait()
        os.close(self._out)
        self._stream.close()
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, url: str) -> None:
        target = self.call("Target.createTarget", url=url)["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"].get("description", "error"))
        return found["result"].get("value")

    def wait(self, expression: str, seconds: float = 120) -> None:
        """Until the expression is true."""
        deadline = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, expression
            time.sleep(0.05)

    def picture(self, path: Path) -> None:
        """What the page looks like, as PNG."""
        import base64

        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session and not method.startswith("Target."):
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = json.loads(self._read())
            if answer.get("id") == self._number:  # events in between are of no interest
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])

    def _read(self) -> bytes:
        data = bytearray()
        while (one := self._stream.read(1)) != b"\0":
            if not one:
                raise RuntimeError("the browser has gone")
            data += one
        return bytes(data)
