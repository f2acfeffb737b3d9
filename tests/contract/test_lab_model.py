"""The lab's model: a device as data that answers batches as a device does, and refuses what it cannot know."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import provisioner.tasks  # noqa: F401 - registers the task types
from provisioner import lab
from provisioner.events import HostLost, TaskFinished
from provisioner.inventory import load_inventory
from provisioner.jetson.observed import Facts, FactsState, derive
from provisioner.jetson.verify import SCRIPT, Verified, parse_verify
from provisioner.lab import catalogue, places
from provisioner.lab.model import Device, ModelTransport, model_transport
from provisioner.lab.model.device import told
from provisioner.lab.model.looks import look
from provisioner.lab.registry import Registry, digest
from provisioner.model import Effect, Line, Observable, State, Unknown, observable_types, task_types
from provisioner.observables.boot import BootId
from provisioner.observables.docker import DockerDaemon, DockerState
from provisioner.observables.file import CONTENT, HASHED, METADATA, File, FileState
from provisioner.observables.file_set import FileNames
from provisioner.observables.image import ContainerImage, ImageState
from provisioner.observables.package import AptTransaction, AptTransactionState, Package, PackageState
from provisioner.observables.unit import Unit, UnitRun, UnitState
from provisioner.observables.user import Group, GroupState, User, UserState
from provisioner.playbook import load_playbook
from provisioner.runner import Runner, Settings
from provisioner.shell import Script
from provisioner.tasks.jetson_verify import VERIFY_IMAGE
from provisioner.wire import Batch, Check, Ended, Finished, Guard, Probed, Stale, Started, Step, Stopped
from provisioner.wire.owed import Owed, OwedState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from provisioner.wire import Reply

ORIN, NANO, XAVIER, THOR = "orin-nano-36.4.3", "nano-32.7.4", "agx-xavier-35.4.1", "agx-thor-39.2.1"
PYTORCH = "nvcr.io/nvidia/l4t-pytorch:r32.7.1-pth1.10-py3"
NOTHING = Script("nothing", ":")
DAEMON_JSON = File("/etc/docker/daemon.json", CONTENT)


def device(folder: Path, simulate: str = ORIN) -> ModelTransport:
    """Return a transport to the device that lies in a folder."""
    return ModelTransport(Device(folder, "box", simulate))


def replies(box: ModelTransport, **batch: Any) -> list[Reply]:
    """Return what is answered to a batch."""
    return list(box.exchange(Batch(**batch)))


def seen(box: ModelTransport, thing: Observable[Any]) -> Any:
    """Return the state that a look tells."""
    (probed, ended) = replies(box, looks=(thing,))
    assert isinstance(probed, Probed)
    assert ended == Ended("done")
    return probed.state


def leaving(thing: Observable[Any], state: State, **more: Any) -> Effect:
    """Return an effect that leaves one state."""
    return Effect(script=NOTHING, leaves={thing: state}, **more)


def done(box: ModelTransport, *effects: Effect, **step: Any) -> Finished:
    """Return how a step of these effects ended."""
    told_ = replies(box, steps=(Step(number=0, effects=effects, **step),))
    (found,) = [one for one in told_ if isinstance(one, Finished)]
    return found


def file(content: bytes = b"", **more: Any) -> FileState:
    """Return a file of root's."""
    return FileState(**{"owner": "root", "group": "root", "mode": "0644", **more}).with_content(content)


class Played(list[Any]):
    """The results of a play on one device."""

    @property
    def statuses(self) -> dict[str, str]:
        """Return the status of each task by name."""
        return {one.task: one.status for one in self}

    @property
    def bad(self) -> list[tuple[str, str | None]]:
        """Return what failed, and why."""
        return [(one.task, one.message) for one in self if one.status not in ("ok", "changed", "skipped")]


def play(folder: Path, tasks: str, simulate: str = ORIN, *, check: bool = False, tail: str = "") -> Played:
    """Run tasks on the device in a folder, as the command line does."""
    home = folder / "play"
    home.mkdir(exist_ok=True)
    (home / "hosts.yaml").write_text("all: {hosts: {box: }}\n")
    head = "- name: play\n  hosts: all\n  become: yes\n  tasks:\n"
    (home / "play.yaml").write_text(head + tasks + tail)
    inventory = load_inventory(str(home / "hosts.yaml"))
    events: list[Any] = []

    def connect(_host: Any, privileged: bool) -> ModelTransport:
        return ModelTransport(Device(folder, "box", simulate), privileged=privileged)

    settings = Settings(check=check, facts=Facts(), derive=derive)
    runner = Runner(inventory, task_types(), connect, events.append, settings)
    runner.run([load_playbook(home / "play.yaml", task_types())], inventory.select("all"))
    assert [one for one in events if isinstance(one, HostLost)] == []
    return Played(one.result for one in events if isinstance(one, TaskFinished))


CHAIN = """
    - name: folder
      file: {path: /opt/app/conf, state: directory, mode: "0750"}
    - name: file
      copy: {dest: /opt/app/conf/app.ini, content: "one\\ntwo\\n", mode: "0640", force: no}
    - name: line
      lineinfile: {path: /opt/app/conf/app.ini, line: three}
    - name: group
      group: {name: app}
    - name: user
      user: {name: appuser, group: app, groups: [video], shell: /bin/sh}
    - name: owner
      file: {path: /opt/app, owner: appuser, group: app, recurse: yes}
    - name: home
      copy: {dest: /home/appuser/note, content: "hello\\n", owner: appuser}
    - name: link
      file: {path: /opt/current, src: app/conf, state: link}
    - name: through the link
      lineinfile: {path: /opt/current/app.ini, line: four}
    - name: packages
      apt: {name: [docker.io, jq], update_cache: yes}
    - name: hold
      dpkg_selections: {name: docker.io, selection: hold}
    - name: docker group
      user: {name: nvidia, groups: docker, append: yes}
    - name: unit file
      copy: {dest: /etc/systemd/system/app.service, content: "[Service]\\nExecStart=/x\\n[Install]\\nWantedBy=x\\n"}
    - name: unit
      systemd: {name: app, state: started, enabled: yes, daemon_reload: yes}
    - name: stat
      stat: {path: /opt/current/app.ini}
      register: there
    - name: only where it is
      copy: {dest: /opt/was-there, content: "{{ there.stat.size }}\\n"}
      when: there.stat.exists
    - name: gone
      file: {path: /etc/nv_tegra_release.old, state: absent}
"""


def test_a_chain_of_tasks_is_done_and_then_there_is_nothing_to_do(tmp_path: Path) -> None:
    """What effects leave is there, verified by the checks; the same play again changes nothing."""
    first = play(tmp_path, CHAIN)
    assert first.bad == []
    assert list(first.statuses.values()).count("changed") == len(first) - 2
    again = play(tmp_path, CHAIN)
    assert [one.task for one in again if one.status != "ok"] == []


@pytest.mark.parametrize("simulate", [NANO, XAVIER, ORIN, THOR])
def test_a_dry_run_leaves_no_trace(tmp_path: Path, simulate: str) -> None:
    """Looks write nothing."""
    box = device(tmp_path, simulate)
    seen(box, Facts())
    before = (tmp_path / "model.json").read_bytes()
    assert "failed" not in play(tmp_path, CHAIN, simulate, check=True).statuses.values()
    assert (tmp_path / "model.json").read_bytes() == before


@pytest.mark.parametrize("simulate", [NANO, XAVIER, ORIN, THOR])
def test_every_kind_of_look_has_an_answer_that_reads_back(tmp_path: Path, simulate: str) -> None:
    """`parse` takes what is told of any observable, and renders the same text."""
    box = device(tmp_path, simulate)
    names: dict[str, Any] = {
        "names": ("nvcr.io",),
        "path": "/etc/hosts",
        "top": "/etc",
        "below": FileNames(("hosts", "nothing")),
        "name": "docker.io",
        "action": "install",
        "reference": "x:y",
        "id": "",
        "digest": "",
    }
    assert all(task_types().values())  # each is imported, and with it what it looks at
    for kind in observable_types().values():
        wanted = getattr(kind, "__dataclass_fields__", {})
        thing = kind(**{name: names[name] for name in wanted if name in names})
        state = look(box.device, thing)
        assert thing.state.parse(told(state)).render() == state.render(), thing


def test_facts_are_those_of_the_device(tmp_path: Path) -> None:
    """The facts of the model mean the module and the release that the catalogue names."""
    releases = {NANO: "32.7.4", XAVIER: "35.4.1", ORIN: "36.4.3", THOR: "39.2.1"}
    for simulate, release in releases.items():
        (tmp_path / simulate).mkdir()
        facts = seen(device(tmp_path / simulate, simulate), Facts())
        assert isinstance(facts, FactsState)
        assert facts.facts.kind == "jetson"
        assert facts.facts.login_user == lab.USER
        assert facts.facts.apt_sources == "sane"
        assert (facts.facts.l4t, facts.facts.architecture) == (release, "arm64")


def test_a_look_brings_as_much_of_a_file_as_it_asks_for(tmp_path: Path) -> None:
    """Nothing, a hash, or the content; a content that is known already does not come again."""
    box = device(tmp_path)
    path = "/etc/nv_tegra_release"
    whole = seen(box, File(path, CONTENT))
    assert whole.content.startswith(b"# R36")
    assert seen(box, File(path, METADATA)).sha256 is None
    assert seen(box, File(path, HASHED)).content is None
    assert seen(box, File(path, whole.sha256)).content is None
    assert seen(box, File(path, "0" * 64)).content == whole.content


def test_what_was_never_made_is_absent(tmp_path: Path) -> None:
    """An absent file has the name that its folder leads to; packages, units and users are absent too."""
    box = device(tmp_path)
    assert seen(box, File("/var/run/x")) == FileState(type="absent", real="/run/x")
    assert seen(box, Package("nothing")).status == "absent"
    assert seen(box, Unit("nothing")).load_state == "not-found"
    assert not seen(box, User("nobody-here")).present
    assert seen(box, ContainerImage("a:b")) == ImageState()
    assert not seen(box, DockerDaemon()).present


def test_a_guard_that_fails_stops_the_batch_before_anything_is_done(tmp_path: Path) -> None:
    """The step is stale, with what there is; fresh looks follow, and no later step begins."""
    box = device(tmp_path)
    target = File("/etc/motd")
    done(box, leaving(target, file(b"somebody else's")))
    guard, ours = Guard(target, FileState(real=target.path)), leaving(target, file(b"ours"))
    step = Step(number=0, guards=(guard,), effects=(ours,))
    told_ = replies(box, steps=(step,), relook=(target,))
    assert isinstance(told_[0], Stale)
    assert "type=file" in told_[0].text
    assert isinstance(told_[1], Probed)
    assert told_[1].again
    assert told_[-1] == Ended("stale")
    assert seen(box, File("/etc/motd", CONTENT)).content == b"somebody else's"


def test_a_guard_compares_only_what_is_known(tmp_path: Path) -> None:
    """Unknown fields, and a hash that nobody asked for, are not compared."""
    box = device(tmp_path)
    expected = FileState(type="file", real="/etc/hostname", owner="root", group=Unknown(), mode="0644")
    step = Step(number=0, guards=(Guard(File("/etc/hostname"), expected),))
    assert replies(box, steps=(step,)) == [Started(0), Finished(0, 0), Ended("done")]


def test_a_file_in_a_folder_that_is_not_there_fails(tmp_path: Path) -> None:
    """The effect ends as on a device, the batch stops, and nothing of it is left."""
    box = device(tmp_path)
    steps = tuple(
        Step(number=n, effects=(leaving(File(path), file(b"x")),)) for n, path in enumerate(("/no/where", "/etc/later"))
    )
    told_ = replies(box, steps=steps)
    assert isinstance(told_[1], Finished)
    assert told_[1].rc == 1
    assert "No such file or directory" in told_[1].stderr
    assert told_[-1] == Ended("failed")
    assert seen(box, File("/etc/later")).type == "absent"


def test_an_effect_is_done_wholly_or_not_at_all(tmp_path: Path) -> None:
    """What an effect left before it failed is taken back."""
    box = device(tmp_path)
    leaves: dict[Observable[Any], State] = {File("/etc/one"): file(b"1"), File("/no/two"): file(b"2")}
    assert done(box, Effect(script=NOTHING, leaves=leaves)).rc == 1
    assert seen(box, File("/etc/one")).type == "absent"


def test_where_a_failure_is_forgiven_the_batch_goes_on(tmp_path: Path) -> None:
    """`goes_on` lets later steps run."""
    box = device(tmp_path)
    bad = Step(number=0, effects=(leaving(File("/no/where"), file()),), goes_on=True)
    good = Step(number=1, effects=(leaving(File("/etc/later"), file()),))
    assert replies(box, steps=(bad, good))[-1] == Ended("done")
    assert seen(box, File("/etc/later")).type == "file"


def test_what_only_a_shell_can_tell_is_refused(tmp_path: Path) -> None:
    """A command fails with the rc of what is not simulated, and says so."""
    ran = play(tmp_path, "    - name: run\n      command: nvpmodel -m 0\n")
    assert ran.bad
    (result,) = ran
    assert result.rc == 96
    assert result.stderr == "nvpmodel -m 0: not simulated: the model has no shell\n"


def test_a_content_that_a_program_is_to_judge_is_refused(tmp_path: Path) -> None:
    """`validate` runs a program of the device, which there is not."""
    ran = play(tmp_path, '    - name: run\n      copy: {dest: /etc/x, content: y, validate: "visudo -cf %s"}\n')
    assert ran[0].rc == 96
    assert "visudo" in ran[0].stderr


def test_an_effect_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    """There is nothing to hold as data, so nothing is called a success."""
    assert done(device(tmp_path), Effect(script=NOTHING, shows=(Line("purr"),))).rc == 96


def test_another_user_may_do_what_that_user_may(tmp_path: Path) -> None:
    """Files in the own home can be made; in root's folders they cannot, and packages neither."""
    box = device(tmp_path)
    own = leaving(File("/home/nvidia/x"), file(owner="nvidia", group="nvidia"))
    assert done(box, own, user="nvidia").rc == 0
    assert done(box, leaving(File("/etc/x"), file(owner="nvidia", group="nvidia")), user="nvidia").rc == 1
    assert done(box, leaving(Group("x"), GroupState(present=True, gid=2000)), user="nvidia").rc == 1
    assert done(box, leaving(File("/home/nvidia/y"), file(owner="root")), user="nvidia").rc == 1
    shadow = replies(ModelTransport(box.device, privileged=False), looks=(File("/etc/shadow"),))[0]
    assert isinstance(shadow, Probed)
    assert shadow.state.sha256 == "unreadable"


def test_handlers_stay_owed_until_they_have_run(tmp_path: Path) -> None:
    """What is owed is written before the change; a failure keeps it, over a new connection too."""
    box = device(tmp_path)
    assert done(box, leaving(File("/no/where"), file()), owes=("play: restart", "play: reload")).rc == 1
    owed = OwedState(handlers=("play: restart", "play: reload"))
    assert seen(device(tmp_path), Owed()) == owed
    done(box, leaving(File("/etc/x"), file()), settles=("play: restart",))
    assert seen(box, Owed()) == OwedState(handlers=("play: reload",))


def test_an_owed_handler_runs_in_the_next_run(tmp_path: Path) -> None:
    """A play that fails between a change and its handler restarts the unit when it is run again."""
    tail = "  handlers:\n    - name: again\n      service: {name: cron, state: restarted}\n"
    change = "    - name: change\n      copy: {dest: /etc/cron.d/x, content: x}\n      notify: again\n"
    before = seen(device(tmp_path), UnitRun("cron"))
    assert play(tmp_path, f"{change}    - name: bad\n      command: nothing\n", tail=tail).bad
    assert seen(device(tmp_path), UnitRun("cron")) == before
    assert play(tmp_path, change, tail=tail).statuses == {"change": "ok", "again": "changed"}
    assert seen(device(tmp_path), UnitRun("cron")) != before
    assert seen(device(tmp_path), Owed()) == OwedState()


def test_a_package_brings_what_it_brings_on_a_device(tmp_path: Path) -> None:
    """Docker comes with its needs, its unit, its group and a daemon that answers with its own runtime."""
    box = device(tmp_path)
    version = str(catalogue.packages(catalogue.model(ORIN))["docker.io"]["candidate"])
    installed = PackageState(status="installed", version=version, selection="install")
    assert done(box, leaving(Package("docker.io"), installed)).rc == 0
    assert seen(box, Package("containerd")).installed
    assert seen(box, Unit("docker")).active_state == "active"
    assert seen(box, Unit("docker")).unit_file_state == "enabled"
    assert seen(box, Group("docker")) == GroupState(present=True, gid=998, members=())
    docker = seen(box, DockerDaemon())
    assert (docker.answers, docker.version, docker.default_runtime) == (True, "28.2.2", "runc")
    assert done(box, leaving(Package("docker.io"), PackageState())).rc == 0
    assert seen(box, DockerDaemon()) == DockerState(present=False, answers=False)
    assert not seen(box, Unit("docker")).exists


def test_apt_has_what_the_catalogue_offers(tmp_path: Path) -> None:
    """A transaction names what an install needs; what is not offered is an error, at the look and at the effect."""
    box = device(tmp_path)
    told_ = seen(box, AptTransaction("install", "", ("nvidia-container-toolkit",)))
    assert [name for name, _, _ in told_.items("installs")] == [
        "libnvidia-container-tools",
        "libnvidia-container1",
        "nvidia-container-toolkit",
    ]
    assert seen(box, AptTransaction("install", "", ("curl",))) == AptTransactionState(nothing=True)
    assert "Unable to locate package purr" in seen(box, AptTransaction("install", "", ("purr",))).error
    wrong = PackageState(status="installed", version="1", selection="install")
    assert done(box, leaving(Package("jq"), wrong)).rc == 100
    assert done(box, leaving(File("/etc/apt/sources.list.d/nvidia-l4t-apt-source.list"), file(b"# none\n"))).rc == 0
    assert "no installation candidate" in seen(box, AptTransaction("install", "", ("nvidia-container",))).error


def test_the_daemon_reads_its_file_when_it_starts_and_only_then(tmp_path: Path) -> None:
    """The default runtime follows daemon.json at a restart; a broken file lets the daemon not start."""
    box = device(tmp_path, NANO)
    config = json.dumps({"default-runtime": "nvidia", "runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}})
    assert done(box, leaving(DAEMON_JSON, file(config.encode()))).rc == 0
    assert seen(box, DockerDaemon()).default_runtime == "runc"
    active = seen(box, Unit("docker"))
    restart = leaving(Unit("docker"), active, witness=UnitRun("docker"))
    assert not done(box, restart).unmoved
    assert seen(box, DockerDaemon()).default_runtime == "nvidia"
    done(box, leaving(DAEMON_JSON, file(b'{"default-runtime": "nvidia"}')))
    assert done(box, restart).rc == 1
    assert seen(box, DockerDaemon()).default_runtime == "nvidia"


def test_a_prediction_about_the_daemon_is_checked(tmp_path: Path) -> None:
    """An effect that claims a default runtime which daemon.json does not give did not take."""
    box = device(tmp_path, NANO)
    claim = DockerState(present=True, answers=True, default_runtime="nvidia")
    finished = done(box, leaving(DockerDaemon(), claim), checks=(Check(DockerDaemon(), claim),))
    assert [thing for thing, _ in finished.differs] == [DockerDaemon()]


def test_an_image_is_one_under_all_its_names(tmp_path: Path) -> None:
    """By digest an image is found whatever it is called, with one id; without its daemon nobody knows of any."""
    box = device(tmp_path, NANO)
    name = "sha256:" + "a" * 64
    pinned, tagged = ContainerImage(f"nvcr.io/nvidia/x@{name}"), ContainerImage("nvcr.io/nvidia/x:1")
    later = ImageState(present=True, id=Unknown(), architecture="arm64")
    assert done(box, Effect(script=NOTHING, leaves={pinned: later, tagged: later})).rc == 0
    image = seen(box, ContainerImage(f"mirror.lan/x@{name}"))
    assert image == seen(box, tagged) == seen(box, pinned)
    assert (image.tags, image.digests) == (("nvcr.io/nvidia/x:1",), (pinned.reference,))
    assert done(box, leaving(Unit("docker"), UnitState(load_state="loaded", active_state="inactive"))).rc == 0
    assert seen(box, pinned) == ImageState(answers=False)
    assert done(box, leaving(ContainerImage("y:2"), later)).rc == 1


def test_without_docker_an_image_is_absent(tmp_path: Path) -> None:
    """Where no engine is installed there is nobody to ask, and no image either."""
    assert seen(device(tmp_path, ORIN), ContainerImage(PYTORCH)) == ImageState()


@pytest.fixture(scope="module")
def registry() -> Registry:
    """Serve the lab's images."""
    return Registry({name: one for name, one in catalogue.everything()["images"].items() if "l4t" in name}).start()


def test_an_image_has_the_id_that_the_labs_registry_gives_it(tmp_path: Path, registry: Registry) -> None:
    """A pull asks the registry that runs beside the model; what is not there is not made up."""
    box = ModelTransport(Device(tmp_path, "box", NANO, registry.url))
    manifest = registry.store.find("nvidia/l4t-pytorch", PYTORCH.rpartition(":")[2])
    assert manifest is not None
    later = ImageState(present=True, id=Unknown(), architecture="arm64")
    pinned = ContainerImage(f"nvcr.io/nvidia/l4t-pytorch@{digest(manifest[1])}")
    assert done(box, leaving(pinned, later)).rc == 0
    assert seen(box, pinned).id == json.loads(manifest[1])["config"]["digest"]
    wrong = done(box, leaving(ContainerImage(f"nvcr.io/nvidia/l4t-pytorch@sha256:{'0' * 64}"), later))
    assert wrong.rc == 1
    assert "manifest unknown" in wrong.stderr


def test_the_check_in_a_container_is_answered_from_what_is_on_record(tmp_path: Path) -> None:
    """It needs image, runtime and the runtime's program, and says that it is simulated; other programs are refused."""
    box = device(tmp_path, NANO)
    image = ImageState(present=True, id="sha256:1", architecture="arm64")
    assert done(box, leaving(ContainerImage(PYTORCH), image)).rc == 0
    check = Effect(script=VERIFY_IMAGE, values=("9", SCRIPT.encode(), "docker", "run", "sha256:1"), opaque=True)
    ran = done(box, check)
    found = parse_verify(ran.rc, ran.stdout, ran.stderr)
    assert isinstance(found, Verified)
    assert (found.torch, found.device, found.capability) == ("1.10.0", "NVIDIA Tegra X1", "5.3")
    assert ran.stderr.startswith("simulated: ")
    assert done(box, Effect(script=VERIFY_IMAGE, values=("9", b"other", "sha256:1"), opaque=True)).rc == 96
    done(box, leaving(DAEMON_JSON, file(b"{}")))
    done(box, leaving(Unit("docker"), seen(box, Unit("docker")), witness=UnitRun("docker")))
    assert done(box, check).rc == 125


def test_a_new_user_gets_a_number_a_home_and_what_is_in_skel(tmp_path: Path) -> None:
    """What a plan leaves open is filled in, and stays as it is."""
    assert play(tmp_path, "    - name: user\n      user: {name: ada}\n").bad == []
    box = device(tmp_path)
    ada = seen(box, User("ada"))
    assert (ada.uid, ada.group, ada.shell, ada.home_there) == (1001, "ada", "/bin/sh", True)
    assert seen(box, Group("ada")).gid == 1001
    assert seen(box, Group("1001")).name == "ada"
    assert seen(box, File("/home/ada/.profile")).owner == "ada"
    assert play(tmp_path, "    - name: user\n      user: {name: ada, state: absent, remove: yes}\n").bad == []
    assert not seen(box, User("ada")).present
    assert not seen(box, Group("ada")).present
    assert seen(box, File("/home/ada/.profile")).type == "absent"


def test_a_folder_that_goes_takes_all_with_it(tmp_path: Path) -> None:
    """What was in a folder does not come back with a new one of that name."""
    play(tmp_path, CHAIN)
    gone = "    - name: gone\n      file: {path: /opt/app, state: absent}\n"
    again = "    - name: again\n      file: {path: /opt/app/conf, state: directory}\n"
    assert play(tmp_path, gone + again).bad == []
    assert seen(device(tmp_path), File("/opt/app/conf/app.ini")).type == "absent"


def test_a_hard_link_is_one_file_under_two_names(tmp_path: Path) -> None:
    """A second run finds that both names are of one file."""
    tasks = """
    - name: file
      copy: {dest: /etc/a, content: x}
    - name: link
      file: {src: /etc/a, dest: /etc/b, state: hard}
"""
    assert play(tmp_path, tasks).bad == []
    assert list(play(tmp_path, tasks).statuses.values()) == ["ok", "ok"]


def test_a_unit_is_after_its_mask_what_it_was_before(tmp_path: Path) -> None:
    """A masked unit does not start; unmasked it is as disabled as it was."""
    off = "    - name: off\n      systemd: {name: cron, enabled: no, state: stopped}\n"
    masked = "    - name: masked\n      systemd: {name: cron, masked: yes}\n"
    assert play(tmp_path, off + masked).bad == []
    assert "masked" in str(play(tmp_path, "    - name: start\n      service: {name: cron, state: started}\n").bad)
    assert play(tmp_path, "    - name: on\n      systemd: {name: cron, masked: no}\n").bad == []
    state = seen(device(tmp_path), Unit("cron"))
    assert (state.load_state, state.unit_file_state, state.active_state) == ("loaded", "disabled", "inactive")


def test_a_reboot_gives_a_new_boot_and_an_empty_run(tmp_path: Path) -> None:
    """After a reboot what lay in /run is gone, enabled units run, others do not, and the rest of the play goes on."""
    box = device(tmp_path)
    before = seen(box, BootId())
    done(box, leaving(File("/run/x"), file()))
    by_hand = UnitState(load_state="loaded", active_state="active", unit_file_state="disabled")
    done(box, leaving(Unit("chrony"), by_hand))
    after = "    - name: after\n      copy: {dest: /etc/after, content: x}\n"
    told_ = play(tmp_path, f"    - name: reboot\n      reboot:\n{after}")
    assert told_.statuses == {"reboot": "changed", "after": "changed"}
    assert seen(box, BootId()) != before
    assert seen(box, File("/run/x")).type == "absent"
    assert seen(box, Unit("chrony")).active_state == "inactive"
    assert seen(box, Unit("ssh")).active_state == "active"


def test_a_batch_is_stopped_between_two_steps(tmp_path: Path) -> None:
    """Who asks to stop while a step runs gets that step whole, and no more."""
    box = device(tmp_path)
    steps = tuple(Step(number=n, effects=(leaving(File(f"/etc/{n}"), file()),)) for n in range(3))
    heard: Iterator[Reply] = box.exchange(Batch(steps=steps))
    assert next(heard) == Started(0)
    box.stop()
    assert list(heard)[1:] == [Stopped(1), Ended("stopped")]
    assert seen(box, File("/etc/0")).type == "file"
    assert seen(box, File("/etc/1")).type == "absent"


def test_a_device_keeps_its_state_until_the_lab_is_reset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """State lies in the lab's folder, outlives the transport, and goes with a reset; another kind is another device."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    nowhere = lab.Lab("model", "", "http://127.0.0.1:9")
    done(model_transport("lab", "box", ORIN, nowhere), leaving(File("/etc/kept"), file(b"kept")))
    assert (places.home("lab") / "devices" / "box" / "model.json").is_file()
    assert seen(model_transport("lab", "box", ORIN, nowhere), File("/etc/kept", CONTENT)).content == b"kept"
    assert seen(model_transport("lab", "box", THOR, nowhere), File("/etc/kept")).type == "absent"
    assert lab.reset("lab")
    assert seen(model_transport("lab", "box", ORIN, nowhere), File("/etc/kept")).type == "absent"


def test_accounts_of_the_catalogue_are_there(tmp_path: Path) -> None:
    """The login user is in the groups that the catalogue's table says."""
    nvidia = seen(device(tmp_path), User("nvidia"))
    assert isinstance(nvidia, UserState)
    assert nvidia.uid == 1000
    assert "sudo" in (nvidia.groups or ())  # type: ignore[operator]
