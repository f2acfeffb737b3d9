"""Process 1 of a simulated device: starts what it is asked to, reaps, and ends with the device."""

from __future__ import annotations

import grp
import json
import os
import pwd
import selectors
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CONTROL = "/run/initctl"  # `reboot` writes here, as the old sysvinit had it


def serve(spec: dict[str, Any], link: socket.socket) -> None:
    """Boot, then serve the supervisor until it hangs up or the device goes down for a reboot."""
    _boot(spec)
    control = _control()
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    link.send(json.dumps({"up": True}).encode())
    selector = selectors.DefaultSelector()
    for source in (link, woken, control):
        selector.register(source, selectors.EVENT_READ)
    while True:
        ready = {key.fileobj for key, _ in selector.select()}
        if control in ready:
            link.send(json.dumps({"reboot": os.read(control, 64).decode()}).encode())
            return
        if woken in ready:
            _drain(woken)
        if link in ready and not _serve_one(link):
            return
        _reap(link)


def _drain(woken: socket.socket) -> None:
    with suppress(BlockingIOError):
        while woken.recv(512):
            pass


def _boot(spec: dict[str, Any]) -> None:
    """Fill /run, as the device's services do while it comes up."""
    run = Path("/run/simulation")
    run.mkdir()
    for name, content in spec["run"].items():
        (run / name).write_text(content, encoding="utf-8")
    for path, content in spec["state"].items():  # what the lab knows about the device; it may have learned more
        Path(path).write_text(content, encoding="utf-8")
    _root_shell(run / "rootsh")
    Path("/run/lock").mkdir(mode=0o1777)
    Path("/run/systemd/system").mkdir(parents=True)  # by which programs tell that systemd runs
    status = os.spawnve(os.P_WAIT, spec["booter"][0], spec["booter"], {"PATH": PATH, "LC_ALL": "C"})  # noqa: S606
    if status:
        raise OSError(f"the device's services did not start (status {status})")


def _root_shell(path: Path) -> None:
    """Make the shell through which `sudo` gets the device's root: a setuid program whose owner is that root."""
    path.write_bytes(Path("/bin/sh").resolve().read_bytes())
    path.chmod(0o4755)


def _control() -> int:
    os.mkfifo(CONTROL, 0o600)
    return os.open(CONTROL, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


def _serve_one(link: socket.socket) -> bool:
    data, fds, _flags, _address = socket.recv_fds(link, 1 << 18, 3)
    for fd in fds:
        os.set_inheritable(fd, False)  # recv_fds of Python 3.11 does not pass MSG_CMSG_CLOEXEC on
    if not data:
        return False
    request = json.loads(data)
    try:
        link.send(json.dumps({"id": request["id"], **_answer(request, fds)}).encode())
    finally:
        for fd in fds:
            os.close(fd)
    return True


def _answer(request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    try:
        user = pwd.getpwnam(request["user"])
        if "login" in request:
            return {"keys": _authorized_keys(user), "groups": _groups(user), "passwords": _takes_passwords()}
        return {"pid": _spawn(request, user, fds)}
    except (OSError, KeyError) as error:
        return {"error": str(error)}


def _authorized_keys(user: pwd.struct_passwd) -> str:
    try:
        return Path(user.pw_dir, ".ssh/authorized_keys").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _takes_passwords() -> bool:
    """Tell what sshd_config says: sshd goes by the first word on a thing."""
    with suppress(OSError):
        for line in Path("/etc/ssh/sshd_config").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().split()[:1] == ["passwordauthentication"]:
                return line.lower().split()[1:] == ["yes"]
    return True


def _spawn(request: dict[str, Any], user: pwd.struct_passwd, fds: list[int]) -> int:
    pid = os.fork()
    if pid == 0:
        _child(request, user, fds)
    return pid


def _child(request: dict[str, Any], user: pwd.struct_passwd, fds: list[int]) -> NoReturn:
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        for target, fd in enumerate(fds):
            os.dup2(fd, target, inheritable=True)
        os.setgroups(request["groups"] or _groups(user))
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
        os.chdir(user.pw_dir if os.access(user.pw_dir, os.X_OK) else "/")
        shell = user.pw_shell or "/bin/sh"
        argv = request["argv"] or [shell, "-c", request["command"]]
        os.execve(argv[0], argv, _environment(request, user, shell))  # noqa: S606 - the shell is what was asked for
    except BaseException as error:  # noqa: BLE001 - whatever it is, this process must not go on as a second init
        os.write(2, f"{error}\n".encode())
    os._exit(127)


def _groups(user: pwd.struct_passwd) -> list[int]:
    return [user.pw_gid, *(group.gr_gid for group in grp.getgrall() if user.pw_name in group.gr_mem)]


def _environment(request: dict[str, Any], user: pwd.struct_passwd, shell: str) -> dict[str, str]:
    name = user.pw_name
    own = {"USER": name, "LOGNAME": name, "HOME": user.pw_dir, "SHELL": shell, "PATH": PATH, "LANG": "C.UTF-8"}
    return {**own, **request["env"]}


def _reap(link: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        with suppress(OSError):
            link.send(json.dumps({"ended": pid, "status": os.waitstatus_to_exitcode(status)}).encode())
