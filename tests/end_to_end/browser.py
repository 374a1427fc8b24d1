"""A real Chromium without a window, spoken to over a pair of pipes (the DevTools protocol)."""

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.end_to_end.real_parts import need

START_TIMEOUT = 60.0
ANSWER_TIMEOUT = 20.0
STOP_TIMEOUT = 10.0
A_MOMENT = 0.2

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--remote-debugging-pipe"),
)
"""No window, nothing that asks the network of its own accord, and no sandbox, which tests may not have."""

_LAUNCH = "import os, sys; os.dup2({0}, 3); os.dup2({1}, 4); os.execv(sys.argv[1], sys.argv[1:])"
"""Chromium reads what it is told from descriptor 3 and answers on 4; which numbers pipes get is chance."""


class Browser:
    """One tab of a running browser."""

    def __init__(self, orders: int, answers: int) -> None:
        self.complaints: list[str] = []  # what it has logged: what it refused to load or run, and errors
        self._orders, self._answers = orders, answers
        self._pending = b""
        self._number = 0
        self._session: str | None = None
        target = self._ask(START_TIMEOUT, "Target.createTarget", url="about:blank")["targetId"]
        attached = self._ask(ANSWER_TIMEOUT, "Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Log", "Runtime"):
            self._ask(ANSWER_TIMEOUT, f"{domain}.enable")

    def open(self, url: str) -> None:
        """Go there."""
        failure = self._ask(ANSWER_TIMEOUT, "Page.navigate", url=url).get("errorText")
        assert failure is None, f"{url} cannot be opened: {failure}"

    def evaluate(self, expression: str) -> Any:
        """What an expression of JavaScript is in the page that is shown; None while another one comes."""
        told = self._ask(ANSWER_TIMEOUT, "Runtime.evaluate", expression=expression, returnByValue=True)
        return told.get("result", {}).get("value")

    def wait_until(self, expression: str, expected: Any, timeout: float = ANSWER_TIMEOUT) -> None:
        """Look until the expression is as expected."""
        deadline = time.monotonic() + timeout
        while (found := self.evaluate(expression)) != expected:
            if time.monotonic() > deadline:
                raise AssertionError(f"{expression} is {found!r}; expected {expected!r}")
            time.sleep(A_MOMENT)

    def _ask(self, timeout: float, method: str, **parameters: object) -> dict[str, Any]:
        """Give an order; what else is told before its answer comes is looked through for complaints."""
        self._number += 1
        order = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            order["sessionId"] = self._session
        os.write(self._orders, json.dumps(order).encode() + b"\0")
        deadline = time.monotonic() + timeout
        while (told := self._receive(deadline)).get("id") != self._number:
            self._note(told)
        result: dict[str, Any] = told.get("result", {})
        return result

    def _note(self, told: dict[str, Any]) -> None:
        if told.get("method") == "Log.entryAdded":
            self.complaints.append(told["params"]["entry"]["text"])
        if told.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(told["params"]["exceptionDetails"]["text"])

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._pending:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self._answers, 65536) if ready else b""
            assert data, "the browser does not answer, or has ended"
            self._pending += data
        message, _, self._pending = self._pending.partition(b"\0")
        told: dict[str, Any] = json.loads(message)
        return told


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Start one with an empty profile; all its processes are ended with it."""
    program = need("chromium")
    child_in, orders = _pipe()
    answers, child_out = _pipe()
    command = (program, *FLAGS, f"--user-data-dir={profile}", "about:blank")
    process = subprocess.Popen(
        [sys.executable, "-c", _LAUNCH.format(child_in, child_out), *command],
        pass_fds=(child_in, child_out),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a group of its own, which ends as a whole
    )
    os.close(child_in)
    os.close(child_out)
    try:
        yield Browser(orders, answers)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_TIMEOUT)
        os.close(orders)
        os.close(answers)


def _pipe() -> tuple[int, int]:
    """A pipe whose ends are not among the numbers that the browser wants for itself."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return high[0], high[1]
