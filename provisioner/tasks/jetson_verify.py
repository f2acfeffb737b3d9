"""jetson_verify: PyTorch computes on the GPU, in the pinned container."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from provisioner.errors import NotYetKnown, ProvisionError
from provisioner.jetson.compatibility import FAMILY
from provisioner.jetson.images import familiar
from provisioner.jetson.verify import SCRIPT, Verified, parse_verify, verify_command
from provisioner.model import Context, Effect, Line, Observable, Plan, TaskType, View, known, task
from provisioner.observables.docker import DockerDaemon
from provisioner.observables.image import ContainerImage
from provisioner.records import dataclass
from provisioner.shell import Script
from provisioner.tasks.jetson_common import facts_of, images_of, other_than_asked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from provisioner.jetson.facts import HostFacts
    from provisioner.jetson.pins import Pin
    from provisioner.model import Ran

TIMEOUT = 900
"""Seconds: on a Nano the first import of torch alone takes more than a minute."""

VERIFY_IMAGE = Script(
    "verify_image",
    r"""
# seconds script word ...: runs the words with the script on stdin; succeeds where the script says that all is well.
seconds=$1 script=$2
shift 2
say 'running the check in a container'
told=$(printf %s "$script" | base64 -d | timeout -k 10 "$seconds" "$@")
rc=$?
printf '%s\n' "$told"
[ "$rc" -eq 0 ] || return "$rc"
case $told in *'"jetson_verify": 1'*'"ok": true'*) return 0 ;; esac
return 1
""",
)


@task
@dataclass(frozen=True, kw_only=True)
class JetsonVerify(TaskType):
    """Runs a real check in the image: a matrix product and a convolution on the GPU, compared with the CPU's."""

    family: str = FAMILY
    image: str | None = None

    name: ClassVar[str] = "jetson_verify"
    services: ClassVar[tuple[str, ...]] = ("facts", "images")
    example: ClassVar[str] = "jetson_verify: { family: l4t-pytorch }"

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name the daemon and the image."""
        yield DockerDaemon()
        pin = images_of(ctx).known(facts_of(ctx), self.family, wanted=self.image)
        if pin is not None:
            yield ContainerImage(pin.pinned)

    def plan(self, view: View, ctx: Context) -> Plan:
        """Plan the run of the check, which changes nothing."""
        facts = facts_of(ctx)
        try:
            choice = images_of(ctx).choose(facts, self.family, wanted=self.image)
        except ProvisionError as error:
            return Plan(failed=error.message, hint=error.hint)
        if refused := other_than_asked(self.image, choice):
            return refused
        pin = choice.pin
        if view.get(DockerDaemon()).answers is False:
            return Plan(failed="there is no Docker that answers", hint="`provision apply` installs and starts it")
        there = view.get(ContainerImage(pin.pinned))
        if there.answers is False:
            raise NotYetKnown("known once Docker answers")
        if not there.present:
            return Plan(failed=f"{pin.pinned} is not on the device", hint="`provision apply` brings it")
        # by its id: an image that came through a mirror has the digest under another name
        words = verify_command(pin, facts, image=known(there.id))
        effect = Effect(
            script=VERIFY_IMAGE,
            values=(str(TIMEOUT), SCRIPT.encode(), *words),
            shows=(Line(f"run the check in {familiar(pin.reference)}"),),
            timeout=TIMEOUT,
            opaque=True,
        )
        return Plan(effects=(effect,), result={"image": pin.pinned}, finish=_told(facts, pin))


def _told(facts: HostFacts, pin: Pin) -> Callable[[Ran], Mapping[str, Any]]:
    def finish(ran: Ran) -> Mapping[str, Any]:
        found = parse_verify(ran.rc, ran.stdout, ran.stderr, expected=facts.compute_capability)
        if not isinstance(found, Verified):
            return {"msg": found.message, "hint": found.hint}
        what = f"PyTorch {found.torch} with CUDA {found.cuda} computes on {found.device} ({found.capability})"
        return {
            "msg": what,
            "device": found.device,
            "capability": found.capability,
            "torch": found.torch,
            "cuda": found.cuda,
            "errors": dict(found.errors),
            "warnings": list(found.warnings),
            "image": pin.pinned,
        }

    return finish
