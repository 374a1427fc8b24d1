"""`partitioner backends --watch`, on a terminal and for programs, against real routers."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.end_to_end.farm import QUICK_PROBES, farm_in
from tests.end_to_end.processes import kept_port, router, run_to_end, running, state_server
from tests.end_to_end.terminal import terminal
from tests.end_to_end.web_server import WebServer

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


def test_a_person_watches_a_server_die_and_the_router_go_away(tmp_path: Path) -> None:
    """The table follows; without a router the last one stays, and says how old it is. Ctrl-C: exit 0."""
    with (
        state_server() as one,
        state_server() as two,
        router(tmp_path, [one.port, two.port], QUICK_PROBES) as in_front,
        WebServer(in_front.port) as web,
        terminal("backends", "--watch", "--interval", "200ms", "--admin", in_front.admin) as screen,
    ):
        web.save("session", b"content")
        screen.wait_for(r"router-1 · 2 of 2 serve · not redundant · [0-9.]+ requests/s from 1 clients")
        screen.wait_for(r"state-1 +127\.0\.0\.1:[0-9]+ +ready +up .*\n *state-2 .* up ")
        one.program.kill()
        screen.wait_for(r"router-1 · 1 of 2 serve")
        screen.wait_for(r"state-1 +127\.0\.0\.1:[0-9]+ +ready +down \(refused\)")
        in_front.program.kill()
        seen_before = len(screen.text)
        screen.wait_for(
            r"Nothing seen for [0-9]+s: no router answers at .*\s+state server [^·]* state-1 ",
            seen_before,
        )
        code = screen.press_ctrl_c()

        assert 0 == code
        assert "Traceback" not in screen.text
        assert screen.raw.rindex(SHOW_CURSOR) > screen.raw.rindex(HIDE_CURSOR)


def test_a_watch_can_begin_before_the_router(tmp_path: Path) -> None:
    """Who upgrades it starts to watch first; and on a narrow terminal no line is folded."""
    with (
        kept_port() as port,
        terminal("backends", "--watch", "--admin", admin := f"127.0.0.1:{port}", columns=110) as screen,
    ):
        screen.wait_for("Nothing seen for .*: no router answers at")
        with running("serve", "--listen", "127.0.0.1:0", "--admin", admin):
            screen.wait_for(r"\n *state-1 +ready +up +[0-9ms ]+ +33\.3 % .*\r\n *state-2 +ready ")
            code = screen.press_ctrl_c()

    assert 0 == code


def test_programs_get_an_object_a_line() -> None:
    """What `backends --json` tells, again and again; and an error while no router answers."""
    with running("serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0") as program:
        admin = program.wait_for(r"(http://\S+)/api/v1/status")[1]
        watching = subprocess.Popen(
            [sys.executable, "-m", "partitioner", "backends", "--watch", "--json", "--admin", admin],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert watching.stdout is not None
        told = [json.loads(watching.stdout.readline()) for _ in range(2)]
        program.kill()
        while "error" not in (last := json.loads(watching.stdout.readline())):
            pass
        watching.send_signal(signal.SIGINT)
        code = watching.wait(20)
        watching.stdout.close()

    assert [["state-1", "state-2", "state-3"]] * 2 == [
        [each["name"] for each in one["backends"]] for one in told
    ]
    assert last["error"].startswith(f"no router answers at {admin}: ")
    assert 0 == code


def watch(*arguments: str) -> tuple[int, str]:
    """Run it where there is no terminal; return how it ended."""
    ended = run_to_end("backends", "--watch", *arguments)
    return ended.returncode, " ".join(ended.stderr.split())


def test_what_is_refused() -> None:
    """A pipe full of codes that move a cursor is of no use to anybody; an interval is as long as it says."""
    code, complaint = watch()
    short, unitless = watch("--interval", "1ms"), watch("--interval", "5")

    assert [2, 2, 2] == [code, short[0], unitless[0]]
    assert "--watch draws on a terminal, and this is none; programs take --watch --json" in complaint
    assert re.search("1ms is too short; expected at least 100ms", short[1])
    assert re.search("'5' is not a duration such as", unitless[1])


def test_top(tmp_path: Path) -> None:
    """The page in a terminal follows, and Ctrl-C ends it quietly; a pipe gets it once, programs as JSON."""
    with farm_in(tmp_path) as farm:
        admin = farm.in_front.admin
        with terminal("top", "--interval", "200ms", "--admin", admin) as screen:
            screen.wait_for(r"\* All 3 state servers serve|! All 3 state servers serve; should one fail")
            farm.servers["state-2"].program.kill()
            screen.wait_for(r"X state-2 does not serve; 2 of 3 do")
            screen.wait_for(r"backend is down backend=state-2: refused")
            code = screen.press_ctrl_c()
        once = run_to_end("top", "--admin", admin)
        told = run_to_end("top", "--json", "--admin", admin)

    assert 0 == code
    assert "Traceback" not in screen.text
    assert screen.raw.rindex(SHOW_CURSOR) > screen.raw.rindex(HIDE_CURSOR)
    assert (0, "") == (once.returncode, once.stderr)
    assert once.stdout.startswith("X state-2 does not serve; 2 of 3 do\n")
    assert "\x1b" not in once.stdout
    assert {"status", "history", "events"} == json.loads(told.stdout).keys()
