"""jetson_preflight: what would go wrong later is told at once, with cause and fix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from provisioner.errors import ProvisionError
from provisioner.jetson.compatibility import FAMILY
from provisioner.model import Context, Observable, Plan, TaskType, Unknown, View, task
from provisioner.observables.docker import DockerDaemon
from provisioner.observables.image import ContainerImage
from provisioner.observables.package import DpkgLock, Package
from provisioner.observables.preflight import Clock, DiskSpace
from provisioner.records import dataclass
from provisioner.tasks.jetson_accelerator import accelerator_problem, accelerator_result, accelerators, npu_told
from provisioner.tasks.jetson_checks import DATA_ROOT, UPGRADES, Problem, Work, doubts, names, problems
from provisioner.tasks.jetson_common import facts_of, images_of, other_than_asked
from provisioner.tasks.jetson_packages import Survey, names_of, packages_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from provisioner.jetson.facts import HostFacts
    from provisioner.jetson.pins import Pin


@task
@dataclass(frozen=True, kw_only=True)
class JetsonPreflight(TaskType):
    """Checks, before anything is changed, what the rest of the play needs and only that.

    Is there an image for its release, or for its GPU and driver where it is no Jetson; is the first boot finished; is
    the clock right, if something is fetched; is there room for the image, if it is missing; can packages be installed,
    if some are. Family and image are those of jetson_image; `max_clock_skew` is in seconds.
    """

    family: str = FAMILY
    image: str | None = None
    max_clock_skew: int = 600

    name: ClassVar[str] = "jetson_preflight"
    services: ClassVar[tuple[str, ...]] = ("facts", "images")
    example: ClassVar[str] = "jetson_preflight: { family: l4t-pytorch }"

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name what the checks read."""
        yield from (DockerDaemon(), Clock(), DpkgLock(), DiskSpace(DATA_ROOT))
        facts = facts_of(ctx)
        yield from accelerators(facts)
        yield from (Package(name) for name in (UPGRADES if facts.kind == "jetson" else ()))
        row = packages_of(facts)
        yield from (Package(name) for name in (names_of(row) if row else ()))
        pin = images_of(ctx).known(facts, self.family, wanted=self.image)
        if pin is not None:
            yield ContainerImage(pin.pinned)
        wanted = names(facts, images_of(ctx).expected(facts, self.family, wanted=self.image))
        if wanted.names:
            yield wanted

    def plan(self, view: View, ctx: Context) -> Plan:
        """Return what is wrong, a line for each; there is nothing to do."""
        facts = facts_of(ctx)
        try:
            choice = images_of(ctx).choose(facts, self.family, wanted=self.image, fresh=ctx.check)
        except ProvisionError as error:
            return _refused(view, facts, error)
        if refused := other_than_asked(self.image, choice):
            return refused
        work = _work(view, facts, choice.pin)
        open_ = Unknown("known once Docker answers") if work.silent else work.image is not None
        result = {"image": choice.pin.pinned, "missing": list(work.packages), "image_missing": open_}
        result |= accelerator_result(view, facts)
        doubted = (str(one) for one in doubts(view, facts, work))
        warnings = tuple(dict.fromkeys((*facts.l4t_warnings, *choice.notes, *doubted)))
        found = tuple(self._problems(view, ctx, facts, work))
        result["problems"] = [one.check for one in found]
        if not found:
            return Plan(result=result, warnings=warnings)
        if len(found) == 1:
            return Plan(failed=found[0].cause, hint=found[0].fix, result=result, warnings=warnings)
        return Plan(failed="\n".join(map(str, found)), result=result, warnings=warnings)

    def _problems(self, view: View, ctx: Context, facts: HostFacts, work: Work) -> Iterator[Problem]:
        if refused := accelerator_problem(view, facts):
            yield Problem("accelerator", refused.reason, refused.hint)
        yield from problems(view, ctx, facts, work, self.max_clock_skew)


def _refused(view: View, facts: HostFacts, error: ProvisionError) -> Plan:
    """Return why there is no image for a host, and what of the vendor's own software for its NPU is there."""
    npu = npu_told(view, facts)
    failed = f"{error.message}; {npu}" if npu else error.message
    return Plan(failed=failed, hint=error.hint, result=accelerator_result(view, facts))


def _work(view: View, facts: HostFacts, pin: Pin) -> Work:
    row = packages_of(facts)
    ways = Survey.of(view.peek, row).ways if row else ()
    there = view.peek(ContainerImage(pin.pinned))
    silent = there.answers is False
    image = None if there.present or silent else pin
    return Work(pin.reference, ways[0] if ways else (), image, silent=silent)
