"""Container images on a device: found by digest or by name, and by whom they are used."""

from __future__ import annotations

from typing import ClassVar

from provisioner.model import Observable, State, Unknown, attached, observable
from provisioner.records import dataclass
from provisioner.shell import Script

IMAGE_ROWS = Script(
    "image_rows",
    r"""
# reference ...: a row id|architecture|digests|tags for each image that is there, in order.
timeout 60 docker image inspect --format \
  '{{.Id}}|{{.Architecture}}|{{range .RepoDigests}}{{.}} {{end}}|{{range .RepoTags}}{{.}} {{end}}' "$@" 2>/dev/null
""",
)

IMAGE_BY_DIGEST = Script(
    "image_by_digest",
    r"""
# digest: prints the id of an image that has it under whatever name, as one has that came from a mirror.
timeout 60 docker images --digests --no-trunc --format '{{.ID}} {{.Digest}}' 2>/dev/null |
  while read -r id digest; do
    [ "$digest" = "$1" ] || continue
    printf '%s\n' "$id"
    break
  done
""",
)

IMAGE_ROW = Script(
    "image_row",
    r"""
# reference: the row of one image; a reference by digest also finds it under another name.
row=$(image_rows "$1")
[ -z "$row" ] || { printf '%s\n' "$row"; return; }
case $1 in *@sha256:*) ;; *) return ;; esac
id=$(image_by_digest "${1##*@}")
[ -z "$id" ] || image_rows "$id"
""",
    (IMAGE_ROWS, IMAGE_BY_DIGEST),
)

IMAGES_TOLD = Script(
    "images_told",
    r"""
# rows: whether Docker's daemon is there to tell of images; where it told of one, it is. Some clients end with 0 and
# fill in nothing where no daemon answers.
[ -z "$1" ] || return 0
said=$(timeout 20 docker info --format '{{.ServerVersion}}' 2>/dev/null) && [ -n "$said" ]
""",
)

IMAGE_LINES = Script(
    "image_lines",
    r"""
# row: the text of one image.
[ -n "$1" ] || { printf 'present=no\n'; return; }
row=$1
printf 'present=yes\nid=%s\n' "${row%%|*}"
row=${row#*|}
printf 'architecture=%s\n' "${row%%|*}"
row=${row#*|}
digests=${row%%|*} tags=${row#*|}
printf '.digests=%s\n.tags=%s\n' "${digests% }" "${tags% }"
""",
)

PROBE_IMAGE = Script(
    "probe_image",
    r"""
# reference ...
rows=
if command -v docker >/dev/null 2>&1; then rows=$(image_rows "$@"); all=yes; else all=; fi
if [ -n "$all" ] && ! images_told "$rows"; then
  for reference do
    next
    printf 'present=no\nanswers=no\n'
  done
  return
fi
if [ -n "$all" ] && [ "$(printf '%s\n' "$rows" | grep -c .)" -ne $# ]; then
  for reference do
    next
    image_lines "$(image_row "$reference")"
  done
  return
fi
for reference do
  next
  image_lines "${rows%%"
"*}"
  rows=${rows#*"
"}
done
""",
    (IMAGE_ROWS, IMAGE_ROW, IMAGES_TOLD, IMAGE_LINES),
)


@dataclass(frozen=True, kw_only=True)
class ImageState(State):
    """An image: its id, the architecture it is built for, and its names by digest and by tag as Docker shows them.

    `answers` is False where Docker is there and its daemon does not answer: then nobody knows what images there are.
    """

    present: bool = False
    answers: bool | None = None
    id: str | Unknown | None = None
    architecture: str | Unknown | None = None
    digests: tuple[str, ...] | None = attached()
    tags: tuple[str, ...] | None = attached()


@observable
@dataclass(frozen=True)
class ContainerImage(Observable[ImageState]):
    """An image by name and tag, or by name@digest; by digest it counts under whatever name it came."""

    reference: str

    kind: ClassVar[str] = "image"
    state: ClassVar[type[State]] = ImageState
    probe: ClassVar[Script] = PROBE_IMAGE

    def is_absent(self, state: State) -> bool:
        """Tell whether there is no such image."""
        return isinstance(state, ImageState) and not state.present


PROBE_IMAGE_USERS = Script(
    "probe_image_users",
    r"""
# id ...: the names of all containers of each image, whether they run or not.
while [ $# -gt 0 ]; do
  next
  names=
  if command -v docker >/dev/null 2>&1; then
    names=$(timeout 20 docker ps -a --filter "ancestor=$1" --format '{{.Names}}' 2>/dev/null | sort -u | tr '\n' ' ')
  fi
  [ -z "$names" ] || printf 'containers=%s\n' "${names% }"
  shift
done
""",
)


@dataclass(frozen=True, kw_only=True)
class ImageUsersState(State):
    """The containers that are made from an image."""

    containers: tuple[str, ...] | None = None


@observable
@dataclass(frozen=True)
class ImageUsers(Observable[ImageUsersState]):
    """Who uses an image, by its id."""

    id: str

    kind: ClassVar[str] = "image_users"
    state: ClassVar[type[State]] = ImageUsersState
    probe: ClassVar[Script] = PROBE_IMAGE_USERS
