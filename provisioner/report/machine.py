"""A run for programs: one JSON document, or JUnit's XML; both hold the text as people see it, cleaned."""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.errors import InputError
from provisioner.events import HostFinished, Noted, PlayStarted, RunStarted, TaskFinished
from provisioner.model import Line
from provisioner.report.blocks import title
from provisioner.report.diff import diff_text
from provisioner.report.recap import HostRecap, Recap, withheld
from provisioner.report.text import clean, one_line

if TYPE_CHECKING:
    from provisioner.events import Event, Explanation, HostLost, TaskResult
    from provisioner.model import Shown

SCHEMA = 1
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _FileReport:
    """Gathers a run, and writes it at the end, whole or not at all."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise InputError(f"cannot write {path}: there is no folder {self.path.parent}")
        self.recap = Recap()
        self.results: list[TaskResult] = []
        self.notes: list[Noted] = []
        self.plays: list[PlayStarted] = []
        self.host_ended: dict[str, float] = {}
        self._lock = threading.Lock()
        self._closed = False

    def __call__(self, event: Event) -> None:
        """Take note of an event; a new run begins the document anew."""
        with self._lock:
            self.recap(event)
            match event:
                case RunStarted():
                    self.results, self.notes, self.plays, self.host_ended = [], [], [], {}
                case TaskFinished():
                    self.results.append(withheld(event.result))
                case Noted():
                    self.notes.append(event)
                case PlayStarted():
                    self.plays.append(event)
                case HostFinished():
                    self.host_ended[event.host] = event.at
                case _:
                    pass

    def close(self) -> None:
        """Write the document; a second call does nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                write_whole(self.path, self.text())

    def text(self) -> str:
        """Return the document."""
        raise NotImplementedError


class JsonReport(_FileReport):
    """Writes a run as one JSON document."""

    def text(self) -> str:
        """Return the document; pure ASCII, so that it can be shown anywhere."""
        return json.dumps(self.document(), indent=2) + "\n"

    def document(self) -> dict[str, Any]:
        """Return what the document holds; the keys of one `schema` are never renamed, only added to."""
        recap = self.recap
        return {
            "schema": SCHEMA,
            "check": recap.check,
            "simulated": recap.simulated,
            "interrupted": recap.interrupted,
            "finished": recap.ended is not None,
            "seconds": round(recap.seconds, 3),
            "batches": recap.trips,
            "hosts": {_text(host.name): self._host(host) for host in recap.hosts.values()},
            "plays": [{"play": _text(p.play), "hosts": _texts(p.hosts), "tasks": p.tasks} for p in self.plays],
            "results": [_result(result) for result in self.results],
            "notes": [{"host": _maybe(n.host), "level": n.level, "message": _text(n.message)} for n in self.notes],
            "recap": {_text(host.name): dict(host.counts) for host in recap.hosts.values()},
        }

    def _host(self, host: HostRecap) -> dict[str, Any]:
        ended = self.host_ended.get(host.name)
        lost = host.lost
        return {
            "state": host.state,
            "lost": _lost(lost) if lost else None,
            "not_done": _texts(host.finished.not_done) if host.finished else [],
            "owed": _texts(host.finished.owed) if host.finished else [],
            "batches": host.finished.trips if host.finished else 0,
            "seconds": round(ended - (self.recap.began or 0.0), 3) if ended is not None else None,
            "start_with": _maybe(self.recap.start_with.get(host.name)),
        }


class JUnitReport(_FileReport):
    """Writes a run as JUnit's XML: a suite for each host, a case for each result."""

    def text(self) -> str:
        """Return the document."""
        from xml.etree import ElementTree as ET

        root = ET.Element("testsuites", name="provision", time=f"{self.recap.seconds:.3f}")
        for host in self.recap.hosts.values():
            self._suite(ET.SubElement(root, "testsuite", name=_xml(host.name)), host)
        ET.indent(root)
        return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'

    def _suite(self, suite: Any, host: HostRecap) -> None:
        results = [result for result in self.results if result.host == host.name]
        failures = sum(_fatal(result) for result in results)
        skipped = sum(result.status in ("skipped", "unknown") for result in results)
        lost = int(host.lost is not None)
        numbers = {"tests": len(results) + lost, "failures": failures, "errors": lost, "skipped": skipped}
        suite.attrib.update({name: str(number) for name, number in numbers.items()})
        if host.lost:
            case = _sub(suite, "testcase", name="connect", classname=host.name)
            _sub(case, "error", message=host.lost.message, type=host.state)
        for result in results:
            _case(suite, result)


def _case(suite: Any, result: TaskResult) -> None:
    name, seconds = title(result), f"{result.seconds:.3f}"
    case = _sub(suite, "testcase", name=name, classname=f"{result.host}.{result.play}", time=seconds)
    if _fatal(result):
        failure = _sub(case, "failure", message=result.message or "failed")
        failure.text = _xml("\n".join(part for part in (str(result.source or ""), result.stderr, result.hint) if part))
    elif result.status in ("skipped", "unknown"):
        _sub(case, "skipped", message=result.message or result.status)
    for tag, text in (("system-out", result.stdout), ("system-err", result.stderr)):
        if text:
            _sub(case, tag).text = _xml(text)


def _sub(parent: Any, tag: str, **attributes: str) -> Any:
    from xml.etree import ElementTree as ET

    return ET.SubElement(parent, tag, {name: _xml(value) for name, value in attributes.items()})


def _fatal(result: TaskResult) -> bool:
    return result.status == "failed" and not result.ignored


def _xml(text: str) -> str:
    return _NOT_XML.sub("", clean(text))


def _result(result: TaskResult) -> dict[str, Any]:
    source = result.source
    return {
        "host": _text(result.host),
        "play": _text(result.play),
        "task": _text(result.task),
        "module": _text(result.module),
        "item": _maybe(result.item),
        "handler": result.handler,
        "status": result.status,
        "ignored": result.ignored,
        "no_log": result.no_log,
        "source": {"path": _text(source.path), "line": source.line, "column": source.column} if source else None,
        "shows": [_shown(one) for one in result.shows],
        "message": _maybe(result.message),
        "hint": _maybe(result.hint),
        "explained": _explained(result.explained),
        "rc": result.rc,
        "stdout": clean(result.stdout),
        "stderr": clean(result.stderr),
        "assumed_after": _texts(result.assumed_after),
        "warnings": _texts(result.warnings),
        "seconds": round(result.seconds, 3),
    }


def _lost(lost: HostLost) -> dict[str, Any]:
    known = _explained(lost.explained)
    return {"message": _text(lost.message), "hint": _maybe(lost.hint), "explained": known}


def _explained(known: Explanation | None) -> dict[str, Any] | None:
    return {"id": known.id, "cause": known.cause, "fix": known.fix, "sources": [*known.sources]} if known else None


def _shown(one: Shown) -> dict[str, Any]:
    if isinstance(one, Line):
        return {"line": clean(one.text)}
    return {"path": one_line(one.path), "secret": one.secret, "diff": diff_text(one)}


def _text(text: str) -> str:
    return clean(text)


def _texts(texts: tuple[str, ...]) -> list[str]:
    return [clean(text) for text in texts]


def _maybe(text: str | None) -> str | None:
    return None if text is None else clean(text)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody ever reads half of it; what is no plain file (a pipe, /dev/stdout) is written to."""
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    target = path.resolve()
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
