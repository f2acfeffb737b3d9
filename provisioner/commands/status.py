"""`provision status`: how the fleet does and what drifted, in one table; with --watch again and again."""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from .fleet import Fleet, extra_vars, load_fleet, start_lab

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from provisioner.report.watching import Screen, Watched

    from .eye import Eye

HASTY = 60.0
"""Seconds of silence after which a look is given up."""

_LEAVE = 2.0  # seconds that looks under way get to end by themselves, and again once they were cut
_POLL = 0.1


def run(options: argparse.Namespace) -> int:
    """Show how the hosts do, once or until Ctrl-C; return the exit code."""
    from provisioner.report.watching import Watched

    given = extra_vars(options.extra_vars)
    fleet, _ = load_fleet(options, [])
    start_lab(fleet, options)
    watched = Watched(host.name for host in fleet.hosts)
    eyes = _eyes(fleet, options, watched, given)
    return _watch(eyes, watched, fleet, options) if options.watch else _once(eyes, watched, options)


def _eyes(fleet: Fleet, options: argparse.Namespace, watched: Watched, given: dict[str, object]) -> list[Eye]:
    from provisioner.connection import wants_root

    from .drift import Drifts
    from .eye import Eye

    drifts = None if options.no_drift else Drifts(fleet, given)
    return [
        Eye(
            host,
            partial(fleet.connect, hasty=HASTY),
            watched,
            become=bool(options.become) or wants_root(host),
            planner=drifts.of(host) if drifts else None,
        )
        for host in fleet.hosts
    ]


def _once(eyes: Sequence[Eye], watched: Watched, options: argparse.Namespace) -> int:
    """Look once at every host, `forks` at a time, and show it."""
    from provisioner.errors import HostError
    from provisioner.events import RunStarted
    from provisioner.report import Recap, exit_code
    from provisioner.report.errors import print_error
    from provisioner.report.watching import Lines, Sheet

    waiting: queue.SimpleQueue[Eye] = queue.SimpleQueue()
    for eye in eyes:
        waiting.put(eye)

    def work() -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                waiting.get_nowait().once()

    threads, bugs = _started([work] * min(options.forks, len(eyes)))
    for thread in threads:
        thread.join()
    if bugs:
        raise bugs[0]
    drift = not options.no_drift
    sheet = Sheet(watched, sys.stdout, drift=drift, patience=HASTY)
    (Lines(watched, sys.stdout, drift=drift) if options.json else sheet).show()
    recap = Recap()
    recap(RunStarted(hosts=tuple(eye.host.name for eye in eyes)))
    for event in (eye.event for eye in eyes if eye.event is not None):
        recap(event)
        print_error(HostError(f"{event.host}: {event.message}", hint=event.hint), sys.stderr)
    return exit_code(recap)


def _started(works: Sequence[Callable[[], None]]) -> tuple[list[threading.Thread], list[BaseException]]:
    """Start functions side by side, in threads that do not keep a program from ending; return them and their bugs."""
    bugs: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as bug:  # noqa: BLE001 - told by the thread that waits
            bugs.append(bug)

    threads = [threading.Thread(target=guarded, args=(work,), name="eye", daemon=True) for work in works]
    for thread in threads:
        thread.start()
    return threads, bugs


def _watch(eyes: Sequence[Eye], watched: Watched, fleet: Fleet, options: argparse.Namespace) -> int:
    """Look at every host in a thread of its own, and show the fleet, until Ctrl-C."""
    threads: list[threading.Thread] = []
    bugs: list[BaseException] = []
    screen: Screen | None = None
    try:
        threads, bugs = _started([partial(eye.watch, options.interval, options.drift_every) for eye in eyes])
        screen = _screen(watched, fleet, options)
        _wait_for_all(watched, options.interval)
        while not bugs:
            screen.show()
            _wait(options.interval, bugs)
    except KeyboardInterrupt:
        pass
    finally:
        _leave(eyes, threads, screen)
    if bugs:
        raise bugs[0]
    return 0


def _wait(seconds: float, bugs: Sequence[BaseException]) -> None:
    deadline = time.monotonic() + seconds
    while not bugs and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, _POLL))


def _wait_for_all(watched: Watched, interval: float) -> None:
    """Wait until every host has answered once or is lost, or would have been asked again."""
    deadline = time.monotonic() + interval
    while time.monotonic() < deadline and any(seen.at is None and seen.lost is None for seen in watched.fleet()):
        time.sleep(_POLL)


def _leave(eyes: Sequence[Eye], threads: Sequence[threading.Thread], screen: Screen | None) -> None:
    """End what looks, and leave the terminal as it was, however often Ctrl-C is pressed meanwhile."""
    ends: list[Callable[[], None]] = [eye.stop for eye in eyes]
    ends += [*([screen.close] if screen else []), partial(_join, threads)]
    ends += [*(eye.cut for eye in eyes), partial(_join, threads)]
    for end in ends:
        with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
            end()


def _join(threads: Sequence[threading.Thread]) -> None:
    """Wait for all threads together, but not for long."""
    deadline = time.monotonic() + _LEAVE
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))


def _screen(watched: Watched, fleet: Fleet, options: argparse.Namespace) -> Screen:
    from provisioner.report.watching import Lines, LiveTable, Sheet

    drift, patience = not options.no_drift, max(3 * options.interval, 15.0)
    title = f"SIMULATION ({fleet.lab.backend})" if fleet.lab else ""
    if options.json:
        return Lines(watched, sys.stdout, drift=drift, moving=True)
    if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        from rich.console import Console

        console = Console(highlight=False, markup=False, emoji=False)
        return LiveTable(watched, console, drift=drift, patience=patience, title=title)
    return Sheet(watched, sys.stdout, drift=drift, patience=patience, title=title, moving=True)
