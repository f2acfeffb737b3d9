"""dpkg_selections: what dpkg is to do with a package, such as to hold it."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from provisioner.model import Context, Effect, Line, Observable, Plan, TaskType, known, task
from provisioner.observables.package import Package
from provisioner.records import dataclass
from provisioner.shell import Script
from provisioner.tasks.apt import DPKG_LOCK_WAIT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.model import View

LOCK_PATIENCE = "60"

SET_SELECTION = Script(
    "set_selection",
    r"""
# seconds package selection
dpkg_lock_wait "$1" || return
printf '%s %s\n' "$2" "$3" | dpkg --set-selections
""",
    (DPKG_LOCK_WAIT,),
)


@task
@dataclass(frozen=True, kw_only=True)
class DpkgSelections(TaskType):
    """Sets the selection of a package that dpkg knows."""

    name: ClassVar[str] = "dpkg_selections"
    example: ClassVar[str] = "dpkg_selections: { name: docker.io, selection: hold }"

    package: str = field(metadata={"key": "name"})
    selection: Literal["install", "hold", "deinstall", "purge"]

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name the package."""
        del ctx
        yield Package(self.package)

    def plan(self, view: View, ctx: Context) -> Plan:
        """Plan one change of the selection."""
        del ctx
        package = Package(self.package)
        state = view.get(package)
        before = known(state.selection)
        result = {"before": before, "after": self.selection}
        if before == self.selection:
            return Plan(result=result)
        if before is None and state.status == "absent":
            message = f"Failed to find package '{self.package}' to perform selection '{self.selection}'."
            return Plan(failed=message, hint="dpkg keeps a selection only for packages that it knows")
        effect = Effect(
            script=SET_SELECTION,
            values=(LOCK_PATIENCE, self.package, self.selection),
            shows=(Line(f"{self.package}: {self.selection} (was {before})"),),
            leaves={package: replace(state, selection=self.selection)},
        )
        return Plan(effects=(effect,), result=result)
