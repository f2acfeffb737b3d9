"""Docker: the daemon, as it runs and not as its file says, and what runs in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from provisioner.model import Observable, State, Unknown, attached, observable
from provisioner.observables.package import Package, PackageState
from provisioner.records import dataclass
from provisioner.shell import Script

if TYPE_CHECKING:
    from provisioner.model import View

ENGINES = ("docker.io", "docker-ce", "docker-ee", "moby-engine")
"""Packages that bring a Docker Engine."""

AFTER_INSTALL = Unknown("known once Docker is installed")

DOCKER_LINES = Script(
    "docker_lines",
    r"""
# What the daemon tells of itself, from one call; nested text in the JSON has its quotes escaped, so that a quote
# which is not belongs to a name.
if ! command -v docker >/dev/null 2>&1; then
  printf 'present=no\nanswers=no\n'
  return
fi
said=$(timeout 40 docker info --format 'version={{.ServerVersion}}
default_runtime={{.DefaultRuntime}}
data_root={{.DockerRootDir}}
driver={{.Driver}}
live_restore={{.LiveRestoreEnabled}}
runtimes={{json .Runtimes}}' 2>/dev/null) || said=
# Some clients end with 0 and fill in nothing where no daemon answers.
case $said in '' | 'version=
'*)
  printf 'present=yes\nanswers=no\n'
  return ;;
esac
names=$(printf '%s\n' "${said##*runtimes=}" | grep -o '"[^"\\]*":{"\(path\|runtimeType\)"' | cut -d '"' -f 2 |
  sort -u | tr '\n' ' ')
printf 'present=yes\nanswers=yes\n'
printf '%s\n' "${said%runtimes=*}" | sed -e 's/%/%25/g' -e '/^$/d' \
  -e '/^live_restore=/s/true$/yes/' -e '/^live_restore=/s/false$/no/'
printf 'runtimes=%s\n' "${names% }"
""",
)

PROBE_DOCKER = Script(
    "probe_docker",
    r"""
# One ignored argument for each time that it is asked for.
while [ $# -gt 0 ]; do
  next
  docker_lines
  shift
done
""",
    (DOCKER_LINES,),
)


@dataclass(frozen=True, kw_only=True)
class DockerState(State):
    """What the daemon runs with.

    `present` tells that there is a docker command, `answers` that the daemon does. `runtimes` are names, sorted.
    With `live_restore` containers outlive the daemon. Where it does not answer, the other fields are None.
    """

    present: bool | Unknown = False
    answers: bool | Unknown = False
    version: str | Unknown | None = None
    default_runtime: str | Unknown | None = None
    data_root: str | Unknown | None = None
    driver: str | Unknown | None = None
    live_restore: bool | Unknown | None = None
    runtimes: tuple[str, ...] | Unknown | None = None


def running_with(why: Unknown, **known_fields: str | bool | Unknown | None) -> DockerState:
    """Return a daemon that is there, of which only some fields can be told."""
    names = ("answers", "version", "default_runtime", "data_root", "driver", "live_restore", "runtimes")
    return DockerState(present=True, **{**dict.fromkeys(names, why), **known_fields})  # type: ignore[arg-type]


@observable
@dataclass(frozen=True)
class DockerDaemon(Observable[DockerState]):
    """The Docker daemon of a device."""

    kind: ClassVar[str] = "docker"
    state: ClassVar[type[State]] = DockerState
    probe: ClassVar[Script] = PROBE_DOCKER

    def arguments(self) -> tuple[str, ...]:
        """Return one word, which the probe ignores."""
        return ("daemon",)

    def is_absent(self, state: State) -> bool:
        """Tell whether there is no Docker."""
        return isinstance(state, DockerState) and state.present is False

    def implied(self, view: View) -> DockerState | None:
        """A Docker Engine that is to be installed before will be there, with what nobody can tell yet."""
        planned = (view.planned.get(Package(name)) for name in ENGINES)
        if not any(isinstance(state, PackageState) and state.installed for state in planned):
            return None
        now: DockerState = view.raw(self)
        later = AFTER_INSTALL
        return now if now.present else running_with(later)


PROBE_CONTAINERS = Script(
    "probe_containers",
    r"""
# One ignored argument for each time that it is asked for: id|name|image|labels of each container that runs.
while [ $# -gt 0 ]; do
  next
  if command -v docker >/dev/null 2>&1; then
    rows=$(timeout 20 docker ps --no-trunc --format '{{.ID}}|{{.Names}}|{{.Image}}|{{.Labels}}' 2>/dev/null |
      sed -e 's/%/%25/g' -e 's/ /%20/g' | tr '\n' ' ')
    printf '.rows=%s\n' "${rows% }"
  fi
  shift
done
""",
)


@dataclass(frozen=True)
class Container:
    """A container that runs: the image is named as it was when it was started; labels are key=value."""

    id: str
    name: str
    image: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ContainersState(State):
    """The containers that run; they come and go, and are never compared."""

    rows: tuple[str, ...] | None = attached()

    @property
    def running(self) -> tuple[Container, ...]:
        """Return them one by one, in Docker's order."""
        return tuple(_container(row) for row in self.rows or ())


def _container(row: str) -> Container:
    id_, name, image, labels = (row.split("|", 3) + [""] * 3)[:4]
    return Container(id_, name, image, tuple(label for label in labels.split(",") if label))


@observable
@dataclass(frozen=True)
class RunningContainers(Observable[ContainersState]):
    """What runs in Docker now."""

    kind: ClassVar[str] = "containers"
    state: ClassVar[type[State]] = ContainersState
    probe: ClassVar[Script] = PROBE_CONTAINERS
    guarded: ClassVar[bool] = False

    def arguments(self) -> tuple[str, ...]:
        """Return one word, which the probe ignores."""
        return ("running",)
