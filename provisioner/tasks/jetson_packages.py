"""jetson_runtime_packages: Docker and NVIDIA's container runtime, as a host's release or route wants them, held."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from provisioner.jetson.compatibility import apt_sources, container_packages
from provisioner.jetson.routes import CUDA_KINDS, Refused, route_of, route_packages, toolkit_commands
from provisioner.model import Context, Effect, Line, Observable, Plan, State, TaskType, Unknown, task
from provisioner.observables.docker import ENGINES, DockerDaemon
from provisioner.observables.package import AptCache, AptTransaction, Package, PackageState
from provisioner.records import dataclass
from provisioner.shell import Script
from provisioner.tasks.apt import DPKG_LOCK_WAIT, Apt
from provisioner.tasks.dpkg_selections import LOCK_PATIENCE
from provisioner.tasks.jetson_common import facts_of
from provisioner.tasks.writing import Draft

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from provisioner.jetson.catalogue import ContainerPackages
    from provisioner.jetson.facts import HostFacts
    from provisioner.model import S, View

DAY = 86400
"""Seconds for which apt's lists are fresh enough to find the files that they name still there."""

COMPANIONS = {"docker-ce": ("docker-ce", "docker-ce-cli", "containerd.io"), "docker-ee": ("docker-ee", "docker-ee-cli")}
"""What else an engine is made of, by the engine's package."""

KEY_VARIABLE = "nvidia_toolkit_key"
"""The variable of site.yaml that names a file with the key of NVIDIA's repository."""

OPEN = Unknown("known after apply")

HOLD_PACKAGES = Script(
    "hold_packages",
    r"""
# seconds name ...: holds those of the packages that are installed.
dpkg_lock_wait "$1" || return
shift
for name do
  shift
  case $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) in
  installed*) set -- "$@" "$name" ;;
  esac
done
[ $# -eq 0 ] || apt-mark hold "$@"
""",
    (DPKG_LOCK_WAIT,),
)


class Look(Protocol):
    """View.get or View.peek."""

    def __call__(self, observable: Observable[S]) -> S:
        """Return the state of an observable."""
        ...


@dataclass(frozen=True)
class Survey:
    """What of Docker and NVIDIA's runtime is there: the engine's package, and the packages that are missing.

    `engine` is None where there is no Docker, and empty where one came without a package. `runtime` and `parts` are
    two ways to what is missing of the runtime.
    """

    row: ContainerPackages
    engine: str | None
    runtime: tuple[str, ...]
    parts: tuple[str, ...]

    @classmethod
    def of(cls, look: Look, row: ContainerPackages) -> Survey:
        """Look what is there."""
        engine = next((name for name in ENGINES if look(Package(name)).installed), None)
        if engine is None and look(DockerDaemon()).present is True:
            engine = ""
        runtime, parts = (
            tuple(name for name in names if not look(Package(name)).installed) for names in (row.runtime, row.parts)
        )
        # all its parts are as good as the name that stands for them
        return cls(row, engine, runtime if parts else (), parts if runtime else ())

    @property
    def ways(self) -> tuple[tuple[str, ...], ...]:
        """Return the sets of packages of which one has to be installed, the best first; none where all is there."""
        engine = (self.row.engine,) if self.engine is None else ()
        return tuple(dict.fromkeys(way for names in (self.runtime, self.parts) if (way := (*engine, *names))))

    @property
    def hold(self) -> tuple[str, ...]:
        """Return the packages that are kept from silent upgrades."""
        own = tuple(name for name in self.row.hold if name not in ENGINES)
        engine = self.row.engine if self.engine is None else self.engine
        return (*COMPANIONS.get(engine, (engine,) if engine else ()), *own)


def packages_of(facts: HostFacts) -> ContainerPackages | None:
    """Return what the release of a Jetson, or the route of another host, needs; None where there is no way to it."""
    if facts.kind != "jetson":
        return route_packages(facts)
    return container_packages(facts.l4t) if facts.l4t else None


def names_of(row: ContainerPackages) -> tuple[str, ...]:
    """Return every package that may be looked at."""
    companions = tuple(name for names in COMPANIONS.values() for name in names)
    return tuple(dict.fromkeys((*ENGINES, *companions, *row.runtime, *row.parts, *row.hold)))


@task
@dataclass(frozen=True, kw_only=True)
class JetsonRuntimePackages(TaskType):
    """Installs Docker and NVIDIA's container runtime, as the device's release wants them, and holds them.

    A host that is no Jetson gets NVIDIA's toolkit where it has an NVIDIA GPU, from NVIDIA's repository if apt knows it,
    and Docker alone where it has none. A Docker Engine that is there is kept, whoever made its package; what is
    installed is neither upgraded nor downgraded. `hold` keeps silent upgrades from breaking containers over night.
    """

    hold: bool = True

    name: ClassVar[str] = "jetson_runtime_packages"
    example: ClassVar[str] = "jetson_runtime_packages: { hold: yes }"
    services: ClassVar[tuple[str, ...]] = ("facts",)

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name all packages that count, and what apt would do on a device that has none of them."""
        row = packages_of(facts_of(ctx))
        if row is None:
            return
        yield from (Package(name) for name in names_of(row))
        yield DockerDaemon()
        yield AptTransaction("install", "", (row.engine, *row.runtime))
        yield AptCache()

    def plan(self, view: View, ctx: Context) -> Plan:
        """Plan one transaction of apt for what is missing, and the hold."""
        facts = facts_of(ctx)
        row = packages_of(facts)
        if row is None:
            return _nothing_for(facts)
        survey = Survey.of(view.get, row)
        draft = Draft(view, ctx)
        install = _install(view, ctx, survey, facts)
        if install.failed:
            return install
        for effect in install.effects:
            draft.add(effect)
        held = self._hold(draft, survey) if self.hold else ()
        result = {**install.result, "engine": survey.engine or row.engine, "held": list(held)}
        return Plan(effects=tuple(draft.effects), result=result, warnings=install.warnings)

    def _hold(self, draft: Draft, survey: Survey) -> tuple[str, ...]:
        """Plan the hold of what will be installed, and of what may come along with a transaction that is not known."""
        known, maybe = [], []
        blind = any(_is_open(state) for effect in draft.effects for state in effect.leaves.values())
        for name in survey.hold:
            state = draft.get(Package(name))
            if state.installed and not state.held:
                known.append(name)
            elif blind and not state.installed:
                maybe.append(name)
        if known or maybe:
            draft.add(_hold_effect(draft, known, maybe))
        return tuple(known)


def _nothing_for(facts: HostFacts) -> Plan:
    """Return the refusal of a host that no packages are known for."""
    if facts.kind == "jetson":
        return Plan(failed=f"there is no container runtime for L4T {facts.l4t or '(unknown)'}")
    route = route_of(facts)
    assert isinstance(route, Refused)
    return Plan(failed=route.reason, hint=route.hint)


def _is_open(state: State) -> bool:
    return isinstance(state, PackageState) and isinstance(state.version, Unknown)


def _install(view: View, ctx: Context, survey: Survey, facts: HostFacts) -> Plan:
    """Return apt's plan for the first way that it can go."""
    refused: Plan | None = None
    for names in survey.ways:
        plan = Apt(packages=names, update_cache=True, cache_valid_time=DAY).plan(view, ctx)
        if not plan.failed:
            return plan
        refused = refused or plan
    return Plan() if refused is None else replace(refused, hint=_sources_hint(facts) or refused.hint)


def _sources_hint(facts: HostFacts) -> str | None:
    """Return what NVIDIA's list of apt should say, where it does not say it."""
    if facts.kind in CUDA_KINDS:
        return (
            f"NVIDIA's toolkit comes from NVIDIA's repository: give its key with -e {KEY_VARIABLE}=FILE, "
            f"or add it by hand: {toolkit_commands()}"
        )
    if facts.apt_sources == "sane" or facts.l4t is None:
        return None
    lines = " and ".join(f"'{line}'" for line in apt_sources(facts.l4t, facts.soc or ""))
    return f"/etc/apt/sources.list.d/nvidia-l4t-apt-source.list should have {lines}"


def _hold_effect(draft: Draft, known: list[str], maybe: list[str]) -> Effect:
    leaves: dict[Observable[Any], State] = {
        Package(name): replace(draft.get(Package(name)), selection="hold") for name in known
    }
    leaves |= {Package(name): PackageState(status=OPEN, version=OPEN, selection=OPEN) for name in maybe}
    return Effect(
        script=HOLD_PACKAGES,
        values=(LOCK_PATIENCE, *known, *maybe),
        shows=tuple(_hold_lines(known, maybe)),
        leaves=leaves,
    )


def _hold_lines(known: list[str], maybe: list[str]) -> Iterator[Line]:
    if known:
        yield Line(f"hold {', '.join(known)}")
    if maybe:
        yield Line(f"hold {', '.join(maybe)}, as far as they come along")
