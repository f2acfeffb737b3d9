"""The Docker daemon: reads daemon.json when it starts, and only then; holds images and containers."""

from __future__ import annotations

import json
import os

from . import state

TYPE_CHECKING = False  # importing typing costs 3 ms, and these programs are called often
if TYPE_CHECKING:
    from typing import Any

CONFIG = "/etc/docker/daemon.json"
STORE = "/var/lib/docker/simulation.json"
LIVE = f"{state.RUN}/dockerd.json"

# Options of dockerd's configuration file.
_KEYS = set(
    """allow-direct-routing allow-nondistributable-artifacts api-cors-header authorization-plugins bip bip6 bridge
    bridge-accept-fwmark builder cgroup-parent containerd containerd-namespace containerd-plugin-namespace cpu-rt-
    period cpu-rt-runtime data-root debug default-address-pools default-cgroupns-mode default-gateway default-
    gateway-v6 default-ipc-mode default-network-opts default-runtime default-shm-size default-ulimits dns dns-opts
    dns-search exec-opts exec-root experimental features firewall-backend fixed-cidr fixed-cidr-v6 group host-
    gateway-ip host-gateway-ips hosts http-proxy https-proxy icc init init-path insecure-registries ip ip-forward
    ip-forward-no-drop ip-masq ip6tables iptables ipv6 labels live-restore log-driver log-format log-level log-opts
    max-concurrent-downloads max-concurrent-uploads max-download-attempts metrics-addr min-api-version mtu no-new-
    privileges no-proxy node-generic-resources oom-score-adjust pidfile proxies raw-logs registry-mirrors rootless
    runtimes seccomp-profile selinux-enabled shutdown-timeout storage-driver storage-opts swarm-default-advertise-
    addr tls tlscacert tlscert tlskey tlsverify userland-proxy userland-proxy-path userns-remap validate""".split()  # noqa: SIM905 - a list of words reads better than 100 strings
)
_TEXT = {"data-root", "default-runtime", "storage-driver", "log-driver", "bridge", "exec-root", "group", "bip"}
_FLAGS = {"debug", "live-restore", "icc", "iptables", "ipv6", "ip-forward", "experimental", "init", "no-new-privileges"}
_OBJECTS = {"runtimes", "features", "log-opts", "proxies", "builder", "default-ulimits"}


def check(path: str) -> tuple[dict[str, Any], str | None]:
    """Return what a configuration file says, and what dockerd says against it."""
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            text = file.read()
    except FileNotFoundError:
        return {}, None
    if not text.strip():
        return {}, None
    try:
        config = json.loads(text)
    except ValueError as error:
        return {}, _configure(path, _go_words(text, error))
    if not isinstance(config, dict):
        return {}, _configure(path, "json: cannot unmarshal into Go value of type map[string]interface {}")
    return config, _wrong(path, config)


def _configure(path: str, why: str) -> str:
    return f"unable to configure the Docker daemon with file {path}: {why}"


def _go_words(text: str, error: ValueError) -> str:
    """Say what Go's decoder says about text that is no JSON."""
    position = int(getattr(error, "pos", 0))
    rest = text[position:].lstrip()
    if not rest:
        return "unexpected EOF"
    where = {
        "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
        "Illegal trailing comma before end of object": "looking for beginning of object key string",
        "Expecting ',' delimiter": "after object key:value pair",
        "Expecting ':' delimiter": "after object key",
        "Extra data": "after top-level value",
    }
    said = str(getattr(error, "msg", ""))
    return f"invalid character '{rest[0]}' {where.get(said, 'looking for beginning of value')}"


def _wrong(path: str, config: dict[str, Any]) -> str | None:
    strangers = sorted(set(config) - _KEYS)
    if strangers:
        return _configure(
            path, f"the following directives don't match any configuration option: {', '.join(strangers)}"
        )
    for names, kind, go in (
        (_TEXT, str, "string"),
        (_FLAGS, bool, "bool"),
        (_OBJECTS, dict, "map[string]interface {}"),
    ):
        for name in sorted(names & set(config)):
            if not isinstance(config[name], kind):
                what = {str: "string", bool: "bool", dict: "object", list: "array"}.get(type(config[name]), "number")
                return _configure(path, f"json: cannot unmarshal {what} into Go value of type {go}")
    for name, runtime in config.get("runtimes", {}).items():
        if name == "runc":
            return "runtime name 'runc' is reserved"
        if not isinstance(runtime, dict) or not (runtime.get("path") or runtime.get("runtimeType")):
            return f"runtime {name}: either a runtimeType or a path must be configured"
    default = config.get("default-runtime", "runc")
    if default not in {"runc", "io.containerd.runc.v2", *config.get("runtimes", {})}:
        return f"specified default runtime '{default}' does not exist"
    return None


def start(pid: int, environment: list[str]) -> str | None:
    """Start the daemon; return why it did not start."""
    config, why = check(CONFIG)
    if why:
        return why
    state.write(LIVE, {"pid": pid, "config": config, "environment": environment})
    store = load()
    for container in store["containers"].values():
        if container["policy"] in ("always", "unless-stopped") and not container.get("stopped"):
            container["running"] = True
    save(store)
    return None


def stop() -> None:
    """Stop the daemon, and the containers with it unless live-restore keeps them."""
    live = running()
    if live and not live["config"].get("live-restore"):
        store = load()
        for container in store["containers"].values():
            container["running"] = False
        store["containers"] = {k: c for k, c in store["containers"].items() if not c.get("rm")}
        save(store)
    if os.path.exists(LIVE):  # noqa: PTH110
        os.unlink(LIVE)  # noqa: PTH108


def reload() -> None:
    """Take over what a SIGHUP takes over: runtimes and the default runtime are among it."""
    live, (config, why) = running(), check(CONFIG)
    if live and not why:
        for key in ("debug", "runtimes", "default-runtime", "live-restore", "labels", "registry-mirrors"):
            live["config"].pop(key, None)
            if key in config:
                live["config"][key] = config[key]
        state.write(LIVE, live)


def running() -> dict[str, Any] | None:
    """Return what the daemon runs with, None if it does not run."""
    found = state.read(LIVE)
    return found if isinstance(found, dict) else None


def load() -> dict[str, Any]:
    """Return images and containers."""
    found = state.read(STORE, {"images": {}, "containers": {}})
    return found if isinstance(found, dict) else {}


def save(store: dict[str, Any]) -> None:
    """Write images and containers."""
    os.makedirs(os.path.dirname(STORE), exist_ok=True)  # noqa: PTH103, PTH120
    state.write(STORE, store, 0o600)
