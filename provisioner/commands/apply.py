"""`provision apply`: bring devices to the state that playbooks declare, or show what that would take."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.errors import InputError

from .fleet import Fleet, Listeners, extra_vars, load_fleet, names_of, settle, start_lab

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from provisioner.document import Caution
    from provisioner.engine import Outcome
    from provisioner.events import Explanation
    from provisioner.playbook import Playbook
    from provisioner.report import Recap, Reporter
    from provisioner.runner import Settings


def run(options: argparse.Namespace) -> int:
    """Run the playbooks on the hosts; return the exit code."""
    options.check = options.check or options.dry_run
    if options.exit_code and not options.check:
        raise InputError("--exit-code tells of a dry run", hint="add --check or --dry-run")
    options.diff = options.diff or options.dry_run or options.confirm
    extra = extra_vars(options.extra_vars)
    fleet, playbooks = load_fleet(options, options.playbooks or ["site.yaml"], known_names(extra))
    warn(playbooks, fleet)
    warn_of_tags(playbooks, names_of(options.tags) | names_of(options.skip_tags))
    reports = _reports(options)
    start_lab(fleet, options)
    return converge(fleet, playbooks, options, reports, extra, remembered=True)


def known_names(extra: Mapping[str, Any]) -> frozenset[str]:
    """Return the names that facts and the command line define."""
    from provisioner.jetson.observed import fact_names

    return frozenset(extra) | fact_names()


def warn(playbooks: Sequence[Playbook], fleet: Fleet) -> None:
    """Tell of what was read otherwise than it was probably meant, and of what differs in every run."""
    written = (caution for book in playbooks for caution in (*book.warnings, *volatile(book)))
    for caution in (*fleet.inventory.warnings, *written):
        print(f"warning: {caution.source}: {caution.message}", file=sys.stderr)


def warn_of_tags(playbooks: Sequence[Playbook], asked: frozenset[str]) -> None:
    """Tell of tags that no task has: such a run does less, or more, than was meant."""
    from provisioner.document import near

    tasks = [task for book in playbooks for play in book.plays for task in play.everything()]
    there = {tag for task in tasks for tag in task.tags} | {"all", "tagged", "untagged", "always", "never"}
    for tag in sorted(asked - there):
        print(f"warning: no task has the tag {tag!r}{near(tag, there)}", file=sys.stderr)


def volatile(playbook: Playbook) -> Iterator[Caution]:
    """Yield a warning for each value that comes out otherwise each time that it is rendered: now(), random, pipes."""
    from provisioner.document import Caution, walk
    from provisioner.templating import is_volatile

    for task in (task for play in playbook.plays for task in play.everything()):
        for node in (node for value in task.args.values() for node in walk(value)):
            if isinstance(node.value, str) and is_volatile(node.value):
                yield Caution(node.source, "this differs in every run, so that the task is never done")


def converge(
    fleet: Fleet,
    playbooks: Sequence[Playbook],
    options: argparse.Namespace,
    reports: list[Reporter],
    extra: Mapping[str, Any],
    *,
    remembered: bool = False,
) -> int:
    """Run playbooks on a fleet, tell the reports, keep the pins, and return the exit code.

    What is `remembered` is what `provision status` later holds each host to.
    """
    from provisioner.report import exit_code
    from provisioner.runner import Runner

    images = image_service(fleet) if "images" in services_of(playbooks, fleet) else None
    listeners, recap = Listeners(reports), reports[0].recap
    settings = settings_of(fleet, options, extra, images)
    runner = Runner(fleet.inventory, fleet.modules, fleet.connect, listeners, settings)
    settle()
    try:
        runner.run(playbooks, fleet.hosts)
        if images is not None and not settings.check:
            images.save()
    finally:
        try:
            listeners.close()
        finally:
            if remembered and not settings.check and not runner.declined:
                _remember(fleet, playbooks, options, recap)
    interrupted = runner.stopping.is_set() or runner.declined
    wants_code = bool(getattr(options, "exit_code", False)) and settings.check
    return exit_code(recap, interrupted=interrupted, check_exit_code=wants_code)


def services_of(playbooks: Sequence[Playbook], fleet: Fleet) -> frozenset[str]:
    """Return what the tasks of some playbooks ask of the controller."""
    tasks = (task for book in playbooks for play in book.plays for task in play.everything())
    used = {task.module for task in tasks if task.module in fleet.modules}
    return frozenset(name for module in used for name in fleet.modules[module].services)


def image_service(fleet: Fleet) -> Any:
    """Return the controller's side of the images: registries, pins, and what a dry run saw."""
    from provisioner.jetson.images import ImageCatalogue

    return ImageCatalogue(fleet.lock_path, registry_mirrors(fleet))


def registry_mirrors(fleet: Fleet) -> dict[str, str]:
    """Return where registries are asked instead of at their own address: a lab serves its own."""
    return dict.fromkeys(MIRRORED, fleet.lab.registry) if fleet.lab else {}


MIRRORED = ("nvcr.io", "docker.io", "ghcr.io")


def _remember(fleet: Fleet, playbooks: Sequence[Playbook], options: argparse.Namespace, recap: Recap) -> None:
    from .applied import remember

    if why := remember(fleet.inventory, playbooks, options, recap):
        print(f"warning: what was applied could not be written down for `provision status`: {why}", file=sys.stderr)


def settings_of(fleet: Fleet, options: argparse.Namespace, extra: Mapping[str, Any], images: Any) -> Settings:
    """Return how a run is to go, by the options of the command line."""
    import time

    from provisioner.jetson.observed import Facts, derive, fact_names
    from provisioner.runner import Settings

    get = vars(options).get
    return Settings(
        check=bool(get("check")),
        forks=options.forks,
        tags=names_of(get("tags")),
        skip_tags=names_of(get("skip_tags")),
        become=bool(get("become")),
        become_user=get("become_user"),
        force_handlers=bool(get("force_handlers")),
        extra=extra,
        options={"allow_restart": bool(get("allow_restart")), "verbosity": options.verbose},
        services={"images": images, "now": time.time},
        facts=Facts(),
        derive=derive,
        fact_names=fact_names(),
        explain=explain,
        ask=_ask if get("confirm") and not get("check") else None,
        simulated=fleet.lab.backend if fleet.lab else None,
    )


def explain(text: str) -> Explanation | None:
    """Return what the text of a failure means; the table of failures is read when the first one needs it."""
    from provisioner.jetson.failures import explain as meaning_of

    return meaning_of(text)


def _reports(options: argparse.Namespace) -> list[Reporter]:
    from provisioner.report import report_for
    from provisioner.report.plain import PlainReport

    screen: Reporter
    if options.confirm:
        screen = PlainReport(sys.stdout, options.verbose, diff=options.diff)
    else:
        screen = report_for(sys.stdout, verbosity=options.verbose, diff=options.diff)
    reports: list[Reporter] = [screen]
    return [*reports, *_files(options)]


def _files(options: argparse.Namespace) -> Iterator[Reporter]:
    if options.json or options.junit:
        from provisioner.report.machine import JsonReport, JUnitReport

        if options.json:
            yield JsonReport(Path(options.json))
        if options.junit:
            yield JUnitReport(Path(options.junit))


def _ask(planned: Mapping[str, Sequence[Outcome]]) -> bool:
    """Show what is planned for all hosts, and wait for a yes."""
    from provisioner.engine.outcome import task_result
    from provisioner.events import RunStarted, TaskFinished
    from provisioner.report.plain import PlainReport

    preview = PlainReport(sys.stdout, 0, diff=True)
    preview(RunStarted(hosts=tuple(planned), check=True))
    for host, outcomes in planned.items():
        for outcome in outcomes:
            preview(TaskFinished(result=task_result(outcome, host, "")))
    sys.stdout.flush()
    try:
        answer = input("\napply exactly this? [y/N] ")
    except EOFError:
        answer = ""
    return answer.strip().lower() in ("y", "yes")
