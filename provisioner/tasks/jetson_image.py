"""jetson_image: the image that fits the device, by digest, under the catalogue's name."""

from __future__ import annotations

import json
from dataclasses import field
from typing import TYPE_CHECKING, Any, ClassVar

from provisioner.errors import NotYetKnown, ProvisionError
from provisioner.jetson.compatibility import FAMILY
from provisioner.jetson.images import familiar
from provisioner.model import Context, Effect, Line, Observable, Plan, State, TaskType, Unknown, View, task
from provisioner.observables.docker import DockerDaemon
from provisioner.observables.file import CONTENT, File, FileState
from provisioner.observables.image import ContainerImage, ImageState, ImageUsers
from provisioner.records import dataclass
from provisioner.shell import WRITE_FILE, Script
from provisioner.tasks.content import Content
from provisioner.tasks.jetson_common import RECORD, facts_of, has_gpu, images_of, other_than_asked, size
from provisioner.tasks.writing import Draft

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from provisioner.jetson.images import ImageCatalogue, Layers
    from provisioner.jetson.pins import Choice, Pin
    from provisioner.model import Ran

PULL_TIMEOUT = 4 * 3600
"""Seconds for one try: 8 GB over 5 Mbit/s."""

PAUSE = "5"
"""Seconds before a pull is tried again; twice that before the last try."""

PULL_AMOUNT = Script(
    "pull_amount",
    r"""
# log folder total layers: prints the bytes that are here by now, and how many layers of how many. Layers are id:size
# words, where they are known; else each counts the same. A layer that is still coming counts by the size of Docker's
# temporary file for it, where this Docker has one.
coming=$(stat -c %s -- "$2"/tmp/GetImageBlob* 2>/dev/null | awk '{ sum += $1 } END { printf "%.0f", sum }')
awk -v coming="${coming:-0}" -v total="$3" -v layers="$4" '
  BEGIN {
    n = split(layers, words, " ")
    for (i = 1; i <= n; i++) { split(words[i], part, ":"); size[part[1]] = part[2] }
  }
  /^[0-9a-f]+: / {
    id = substr($1, 1, length($1) - 1)
    if (length(id) != 12) next
    if (!(id in state)) count++
    state[id] = 1
    if ($2 == "Download" || $2 == "Extracting" || $2 == "Verifying") state[id] = 2
    if (($2 == "Pull" && $3 == "complete") || $2 == "Already") state[id] = 3
  }
  END {
    for (id in state) {
      known = (id in size) ? size[id] : (count ? total / count : 0)
      if (state[id] >= 2) { here += known; done++ }
      if (state[id] == 3) whole += known
    }
    if (whole + coming > here) here = whole + coming
    if (here > total) here = total
    printf "%.0f %d %d\n", here, done, count
  }' <"$1"
""",
)

PULL_SAY = Script(
    "pull_say",
    r"""
# log folder total layers: says `pull DONE TOTAL N/M layers`, amounts in bytes, whenever it moved.
amount=$(pull_amount "$@")
[ "$amount" != "$pull_said" ] || return 0
pull_said=$amount
there=${amount%% *} amount=${amount#* }
say "pull $there $3 ${amount% *}/${amount#* } layers"
""",
    (PULL_AMOUNT,),
)

PULL_ONCE = Script(
    "pull_once",
    r"""
# log seconds image folder total layers: one try, with what it says in the log.
: >"$1"
timeout -k 10 "$2" docker pull "$3" >"$1" 2>&1 </dev/null &
pull=$!
polls=0
while kill -0 "$pull" 2>/dev/null; do
  polls=$((polls + 1))
  { [ "$polls" -le 20 ] && sleep 0.2 2>/dev/null; } || sleep 1
  pull_say "$1" "$4" "$5" "$6"
done
wait "$pull"
""",
    (PULL_SAY,),
)

PULL_IMAGE = Script(
    "pull_image",
    r"""
# image name architecture seconds pause folder total layers: pulls by digest, up to three times (layers that came are
# kept), checks what came, and tags it.
log=$(umask 077; mktemp) || return 1
pull_said='' tries=0 rc=1
while [ "$tries" -lt 3 ]; do
  tries=$((tries + 1))
  pull_once "$log" "$4" "$1" "$6" "$7" "$8"
  rc=$?
  [ "$rc" -ne 0 ] || break
  case $(tail -n 3 -- "$log") in
  *unauthorized* | *denied* | *'no space left'* | *'not found'* | *'manifest unknown'* | *'not simulated'*) break ;;
  esac
  [ "$tries" -ge 3 ] || { say "the pull broke off, once more in $(($5 * tries)) seconds"; sleep "$(($5 * tries))"; }
done
if [ "$rc" -ne 0 ]; then
  tail -n 5 -- "$log" >&2
  rm -f -- "$log"
  return 1
fi
rm -f -- "$log"
image_check "$1" "$3" && docker_tag "$1" "$2"
""",
    (
        PULL_ONCE,
        Script(
            "image_check",
            r"""
# image architecture: whether it is there by this digest, and built for the device.
built=$(timeout 60 docker image inspect --format '{{.Architecture}}' "$1" </dev/null) || {
  printf '%s is not there after the pull\n' "$1" >&2
  return 1
}
[ "$built" = "$2" ] && return
printf '%s is built for %s, this device is %s\n' "$1" "$built" "$2" >&2
timeout 300 docker image rm "$1" >/dev/null 2>&1 </dev/null
return 1
""",
        ),
        Script("docker_tag", 'timeout 60 docker tag "$1" "$2" </dev/null'),
    ),
)

TAG_IMAGE = Script("tag_image", 'timeout 60 docker tag "$1" "$2" </dev/null')

REMOVE_IMAGE = Script(
    "remove_image",
    r"""
# name ...: takes the names of an image away, and with the last one the image; one that went with another is no error.
for name do
  timeout 60 docker image inspect --format '{{.Id}}' "$name" >/dev/null 2>&1 </dev/null || continue
  timeout 600 docker image rm "$name" </dev/null || return 1
done
""",
)

RECORD_IMAGE = Script(
    "record_image",
    r"""
# path data: writes the record, which anybody may read.
mkdir -p -- "${1%/*}" && write_file "$1" root root 0644 '' '' '' "$2"
""",
    (WRITE_FILE,),
)


@dataclass(frozen=True)
class Ours:
    """An image of ours: by digest, and the name that we gave it."""

    image: str
    reference: str

    def plain(self) -> dict[str, str]:
        """Return it for the record."""
        return {"image": self.image, "reference": self.reference}


@dataclass(frozen=True)
class Record:
    """What the record on a device says: the image of each family with its band, and superseded ones still there."""

    images: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    superseded: tuple[Ours, ...] = ()

    @classmethod
    def read(cls, content: bytes | None) -> Record:
        """Return what a record says; one that makes no sense says nothing, and nothing is removed for it."""
        try:
            told = json.loads(content or b"{}")
            images = {str(name): {str(k): str(v) for k, v in row.items()} for name, row in told["images"].items()}
            old = tuple(Ours(str(row["image"]), str(row["reference"])) for row in told["superseded"])
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()
        return cls({name: row for name, row in images.items() if {"image", "reference"} <= row.keys()}, old)

    def write(self) -> bytes:
        """Return the record as it lies on the device."""
        body = {"images": dict(self.images), "superseded": [one.plain() for one in self.superseded]}
        return (json.dumps(body, indent=2, sort_keys=True) + "\n").encode()

    def older(self, family: str, pin: Pin) -> tuple[Ours, ...]:
        """Return the images of ours that a pin supersedes, the earlier ones first."""
        now = self.images.get(family)
        last = (Ours(now["image"], now["reference"]),) if now and now["image"] != pin.pinned else ()
        kept = {row["image"] for name, row in self.images.items() if name != family} | {pin.pinned}
        return tuple(one for one in dict.fromkeys((*self.superseded, *last)) if one.image not in kept)


@task
@dataclass(frozen=True, kw_only=True)
class JetsonImage(TaskType):
    """Has the image of a family that fits the device: pulled by the pinned digest, and tagged with its name.

    What the digest is stands in the lock file beside the inventory; where it does not, a registry is asked, and the
    first device that has the image pins it for all. An image that was ours before is removed once the new one is there
    and no container uses it. `image` asks for a tag by name; it has to be of the device's band, and where the band is
    pinned to another image, or the tag cannot be had, the task fails.
    """

    family: str = FAMILY
    image: str | None = None

    name: ClassVar[str] = "jetson_image"
    services: ClassVar[tuple[str, ...]] = ("facts", "images")
    example: ClassVar[str] = "jetson_image: { family: l4t-pytorch }"

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name the daemon, the record and, where it is known without asking, the image."""
        yield DockerDaemon()
        yield File(RECORD, CONTENT)
        pin = images_of(ctx).known(facts_of(ctx), self.family, wanted=self.image)
        if pin is not None:
            yield from (ContainerImage(pin.pinned), ContainerImage(familiar(pin.reference)))

    def plan(self, view: View, ctx: Context) -> Plan:
        """Plan the pull, the tag, the removal of what is superseded, and the record."""
        images = images_of(ctx)
        try:
            choice = images.choose(facts_of(ctx), self.family, wanted=self.image, fresh=ctx.check)
        except ProvisionError as error:
            return Plan(failed=error.message, hint=error.hint)
        if refused := other_than_asked(self.image, choice):
            return refused
        if not view.peek(DockerDaemon()).present:
            return Plan(failed="Docker is not installed", hint="jetson_runtime_packages installs it")
        draft = Draft(view, ctx)
        if not ctx.check and view.peek(DockerDaemon()).answers is False and not _told_of(draft, choice.pin):
            return Plan(failed="Docker does not answer", hint="`systemctl start docker` on the device starts it")
        self._have(draft, choice.pin, images.layers(choice.pin))
        self._supersede(draft, choice.pin)
        return self._planned(draft, images, choice)

    def _have(self, draft: Draft, pin: Pin, layers: Layers) -> None:
        """Plan the image and its name."""
        name = familiar(pin.reference)
        there, named = draft.get(ContainerImage(pin.pinned)), draft.get(ContainerImage(name))
        if not _told_of(draft, pin):
            raise NotYetKnown("known once Docker answers")
        if not there.present:
            draft.add(_pull(draft, pin, layers))
        elif named.id != there.id:
            new = ImageState(present=True, id=there.id, architecture=there.architecture)
            draft.add(
                Effect(
                    script=TAG_IMAGE,
                    values=(there.id if isinstance(there.id, str) else familiar(pin.pinned), name),
                    shows=(Line(f"tag {pin.pinned} as {name}"),),
                    leaves={ContainerImage(name): new},
                )
            )

    def _supersede(self, draft: Draft, pin: Pin) -> None:
        """Plan the removal of images of ours that nobody needs any more, and the record of what is left."""
        state = draft.get(File(RECORD, CONTENT))
        record = Record.read(state.content)
        older = record.older(self.family, pin)
        kept = tuple(one for one in older if not _removed(draft, one, pin))
        own = {"image": pin.pinned, "reference": familiar(pin.reference), "band": pin.band}
        new = Record({**record.images, self.family: own}, kept)
        # What somebody else removed is struck out when the record is written for another reason.
        stands = new == record or (new.images == record.images and not draft.effects)
        if not (state.exists and stands):
            draft.add(_recorded(state, new))

    def _planned(self, draft: Draft, images: ImageCatalogue, choice: Choice) -> Plan:
        pin = choice.pin
        name = familiar(pin.reference)
        if not draft.effects and not draft.ctx.check:
            images.taken(pin)
        result = {
            "image": name,
            "pinned": pin.pinned,
            "digest": pin.index_digest,
            "band": pin.band,
            "family": pin.family,
            "size": pin.size,
            "gpu": (gpu := has_gpu(facts_of(draft.ctx))),
            "docker_run": f"docker run -it --rm{' --runtime nvidia' if gpu else ''} {name}",
        }
        warnings = (*choice.notes, *draft.warnings)
        return Plan(effects=tuple(draft.effects), result=result, finish=_proved(images, pin), warnings=warnings)


def _told_of(draft: Draft, pin: Pin) -> bool:
    """Tell whether there was a daemon to tell of the image and its name; without Docker there is none of either."""
    names = (ContainerImage(pin.pinned), ContainerImage(familiar(pin.reference)))
    return all(draft.peek(name).answers is not False for name in names)


def _proved(images: ImageCatalogue, pin: Pin) -> Callable[[Ran], Mapping[str, Any]]:
    def finish(ran: Ran) -> Mapping[str, Any]:
        if ran.rc == 0:
            images.taken(pin)
        return {}

    return finish


def _pull(draft: Draft, pin: Pin, layers: Layers) -> Effect:
    """Return the pull of a pin; its id is whatever this Docker calls it."""
    name = familiar(pin.reference)
    root = draft.peek(DockerDaemon()).data_root
    later = Unknown(f"known once {pin.index_digest[:19]} is pulled")
    new = ImageState(present=True, id=later, architecture=_architecture(pin))
    return Effect(
        script=PULL_IMAGE,
        values=(
            familiar(pin.pinned),
            name,
            _architecture(pin),
            str(PULL_TIMEOUT),
            PAUSE,
            root if isinstance(root, str) else "/var/lib/docker",
            str(pin.size),
            " ".join(f"{digest.partition(':')[2][:12]}:{amount}" for digest, amount in layers),
        ),
        shows=(Line(f"pull {pin.pinned} ({size(pin.size)})"), Line(f"tag it as {name}")),
        leaves={ContainerImage(pin.pinned): new, ContainerImage(name): new},
        timeout=3 * PULL_TIMEOUT,
    )


def _architecture(pin: Pin) -> str:
    return pin.platform.split("/")[1]


def _removed(draft: Draft, old: Ours, pin: Pin) -> bool:
    """Plan the removal of a superseded image; tell whether it will then be gone."""
    state = draft.get(ContainerImage(old.image))
    if not state.present or not isinstance(state.id, str):
        return True
    if state.id == draft.get(ContainerImage(pin.pinned)).id:
        return True
    users = draft.get(ImageUsers(state.id)).containers
    if users:
        draft.warnings.append(f"{old.image} is superseded, and stays while containers use it: {', '.join(users)}")
        return False
    digest = old.image.partition("@")[2]
    names = [name for name in state.digests or () if name.endswith(f"@{digest}")] or [familiar(old.image)]
    leaves: dict[Observable[Any], State] = {ContainerImage(old.image): ImageState()}
    tagged = ContainerImage(old.reference)
    if draft.get(tagged).id == state.id:
        names.insert(0, old.reference)
        leaves[tagged] = ImageState()
    shown = (Line(f"remove {old.image}, which is superseded"),)
    draft.add(Effect(script=REMOVE_IMAGE, values=tuple(names), shows=shown, leaves=leaves))
    return True


def _recorded(state: FileState, record: Record) -> Effect:
    content = Content.of(record.write())
    new = content.state(FileState(type="file", real=state.real, owner="root", group="root", mode="0644"))
    return Effect(
        script=RECORD_IMAGE,
        values=(RECORD, content.data or b""),
        shows=(Line(f"record it in {RECORD}"),),
        leaves={File(RECORD): new},
    )
