"""The floor: says hello over SSH to every host with paramiko, reads the same state with one shell script, and leaves.

python floor.py JOB.json, where the job has user, key, host_key, port, forks, tasks and hosts (name, address and tree).
"""

from __future__ import annotations

import base64
import json
import shlex
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import paramiko

SCRIPT = """
cd -- "$1" || exit 1
for section in $2; do
  set -- "$@" "$section" "$section/settings.ini" "$section/service.conf" "$section/limits" "$section/hosts"
  set -- "$@" "$section/release" "$section/initialised" "$section/current"
done
shift 2
stat -c '%n %F %a %u %g %s %Y %i' -- "$@"
sha256sum -- $(for path; do [ ! -f "$path" ] || printf '%s ' "$path"; done)
readlink -- "$@"
:
"""


def look(job: dict[str, Any], host: dict[str, str], key: paramiko.PKey, known: paramiko.PKey) -> int:
    """Return how much a host had to say."""
    sock = socket.create_connection((host["address"], job["port"]), timeout=30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client = paramiko.SSHClient()
    client.get_host_keys().add(f"[{host['address']}]:{job['port']}", known.get_name(), known)
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    client.connect(
        host["address"],
        job["port"],
        job["user"],
        pkey=key,
        sock=sock,
        allow_agent=False,
        look_for_keys=False,
        banner_timeout=60,
    )
    sections = " ".join(f"app{n}" for n in range((job["tasks"] + 9) // 10))
    command = shlex.join(["sh", "-c", SCRIPT, "sh", host["tree"], sections])
    _, answer, _ = client.exec_command(command)
    told: bytes = answer.read()
    client.close()
    return len(told)


def main() -> None:
    """Look at every host, so many at once."""
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    key = paramiko.Ed25519Key.from_private_key_file(job["key"])
    known = paramiko.Ed25519Key(data=base64.b64decode(job["host_key"]))
    with ThreadPoolExecutor(min(job["forks"], len(job["hosts"]))) as pool:
        for host, size in zip(
            job["hosts"], pool.map(lambda one: look(job, one, key, known), job["hosts"]), strict=True
        ):
            print(host["name"], size)


if __name__ == "__main__":
    main()
