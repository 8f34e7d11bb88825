"""The first process of a lab host: lays out its root folder, then starts and stops its daemons as it is told on stdin.

Everything the host has hangs on this process: its namespaces, mounts and processes go when it goes, and it goes when
stdin closes. So a test run that is killed takes its hosts with it.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn


def main() -> NoReturn:
    plan: dict[str, Any] = json.loads(sys.stdin.readline())
    logs: dict[str, IO[bytes]] = {}
    for name in ("dockerd", "sshd"):
        logs[name] = open(f"{plan['folder']}/{name}.log", "ab")  # noqa: SIM115 - opened before the machine's root is left
    _lay_out(plan)
    _join_network(plan)
    _be_someone(plan)
    daemons = {"dockerd": plan["dockerd"], "sshd": plan["sshd"]}
    running: dict[str, subprocess.Popen[bytes]] = {}
    for name, words in daemons.items():
        running[name] = _start(words, logs[name])
    _say("up")
    # an orphan's death must be collected by someone, and that is the first process; our own are waited for by name
    signal.signal(signal.SIGCHLD, lambda *_: _bury(running))
    for line in sys.stdin:
        verb, name = line.split()
        if verb == "start" and running[name].poll() is None:
            running[name].kill()
            running[name].wait()
        if verb == "start":
            Path("/run/docker.pid").unlink(missing_ok=True)
            running[name] = _start(daemons[name], logs[name])
        elif verb == "kill":
            running[name].kill()
            running[name].wait()
        _say("done")
    os._exit(0)


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def _lay_out(plan: dict[str, Any]) -> None:
    """The machine's own root below, what the host writes on its own disk above, fresh /proc, /sys, /run and /tmp."""
    disk = Path(plan["folder"], "disk")
    disk.mkdir(exist_ok=True)
    _run("mount", "-o", "loop,noatime", plan["image"], str(disk))
    for name in ("upper", "work", "docker", "root"):
        (disk / name).mkdir(exist_ok=True)
    root = str(disk / "root")
    _run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={disk}/upper,workdir={disk}/work", root)
    for folder in ("proc", "sys", "dev", "run", "tmp", "var/lib/docker", ".machine"):
        Path(root, folder).mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "proc", "proc", f"{root}/proc")
    _run("mount", "-t", "sysfs", "sysfs", f"{root}/sys")
    _run("mount", "--rbind", "/sys/fs/cgroup", f"{root}/sys/fs/cgroup")
    _run("mount", "--rbind", "/dev", f"{root}/dev")
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", f"{root}/run")
    _run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", f"{root}/tmp")
    _run("mount", "--bind", str(disk / "docker"), f"{root}/var/lib/docker")
    for hidden in plan["hidden"]:  # a host has neither root's own files nor our checkout
        if Path(root, hidden.lstrip("/")).is_dir():
            _run("mount", "-t", "tmpfs", "-o", "mode=700", "tmpfs", f"{root}{hidden}")
    os.chdir(root)
    _run("pivot_root", ".", ".machine")
    os.chdir("/")
    _run("umount", "--lazy", "/.machine")


def _join_network(plan: dict[str, Any]) -> None:
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "addr", "add", plan["address"], "dev", "eth0")
    _run("ip", "link", "set", "eth0", "up")


def _be_someone(plan: dict[str, Any]) -> None:
    """Name, resolver and the login user, as an installer would have left them."""
    name: str = plan["name"]
    Path("/proc/sys/kernel/hostname").write_text(name)
    _write("/etc/hostname", f"{name}\n")
    _write("/etc/hosts", f"127.0.0.1 localhost {name}\n" + "".join(f"{line}\n" for line in plan["hosts"]))
    _write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    for folder in ("/run/sshd", "/run/lock"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    user: str = plan["user"]
    if not Path("/home", user).exists():
        _run("useradd", "-m", "-s", "/bin/bash", "-G", "docker", user)
        _run("usermod", "-p", "*", user)  # without PAM, sshd takes a new account for a locked one
    ssh = Path("/home", user, ".ssh")
    ssh.mkdir(mode=0o700, exist_ok=True)
    _write(str(ssh / "authorized_keys"), plan["authorized_key"] + "\n", 0o600)
    for path in (ssh, ssh / "authorized_keys"):
        home = Path("/home", user).stat()
        os.chown(path, home.st_uid, home.st_gid)
    _write("/etc/ssh/ssh_host_ed25519_key", plan["host_private_key"], 0o600)
    _write("/etc/ssh/lab_sshd_config", plan["sshd_config"])


def _start(words: list[str], log: IO[bytes]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def _bury(running: "dict[str, subprocess.Popen[bytes]]") -> None:
    while True:
        try:
            # looked at and left in place: a daemon of ours is collected by its own Popen, which wants its exit status
            seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if seen is None:
            return
        ours = next((process for process in running.values() if process.pid == seen.si_pid), None)
        if ours is None:
            with suppress(ChildProcessError):  # a further signal, in the middle of this, was quicker
                os.waitpid(seen.si_pid, 0)
        elif ours.poll() is None:
            return  # being waited for right now


def _write(path: str, text: str, mode: int = 0o644) -> None:
    Path(path).unlink(missing_ok=True)  # often a link into /run
    Path(path).write_text(text)
    Path(path).chmod(mode)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
