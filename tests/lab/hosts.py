"""A lab of real Docker hosts on one machine, each with its own address, disk, sshd and dockerd, made to be broken.

A host is a process in its own network, mount, process, name and IPC namespaces, over the machine's own programs. Its
namespaces have no names that would outlive it, so a host that dies takes its mounts, interfaces and processes with it.
"""

import json
import select
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from infra.local import images, sshd
from tests.lab import ground
from tests.lab.ground import LabError, until
from tests.lab.registry import Login, Registry

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DISK_MB = 4096
_USER = "deploy"
_HOST_KEY, _SSHD_CONFIG = "/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/lab_sshd_config"
_REGISTRY_PORT, _CLOSED_PORT = 5000, 5001
LOGIN = Login("ann", "canary-login-5r2k8w0qzt")


class Lab:
    """Hosts on one switch, made when first asked for, and two registries.

    They reach them as `registry.lab:5000`, which is open to all, and as `registry.lab:5001`, which wants `LOGIN`.
    """

    def __init__(self) -> None:
        self.ground = ground.take()
        self.private_key, self.public_key = sshd.new_key()
        self._hosts: dict[str, LabHost] = {}
        self._registry = Registry(self.ground, _REGISTRY_PORT)
        self._closed_registry = Registry(self.ground, _CLOSED_PORT, LOGIN)
        try:
            self._switch = _Switch(self.ground)
        except BaseException:
            self.ground.give_back()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def address(self) -> str:
        """This machine's own, as the hosts see it: what is to be reached from them listens there."""
        return self.ground.address(1)

    def host(self, name: str) -> "LabHost":
        """The host of that name, up."""
        return self.hosts(name)[0]

    def hosts(self, *names: str) -> "list[LabHost]":
        """The hosts of these names, those that are not up yet brought up together."""
        fresh = [self._add(name) for name in names if name not in self._hosts]
        with ThreadPoolExecutor(max_workers=max(1, len(fresh))) as booting:
            list(booting.map(LabHost.boot, fresh))
        return [self._hosts[name] for name in names]

    def images(self, *recipes: images.Recipe) -> None:
        """Make these images on every host that is up."""
        with ThreadPoolExecutor() as loading:
            list(loading.map(lambda host: host.load(*recipes), self._hosts.values()))

    def registry_push(self, host: "LabHost", image: str, name: str, *, closed: bool = False) -> str:
        """Push a host's image and say its name; `library/web:1` is Docker Hub's `web:1` to lab hosts from then on.

        `closed`: to the registry that wants a login.
        """
        registry = self._closed_registry if closed else self._registry
        registry.start()
        reference = f"{registry.name}/{name}"
        host.docker("tag", image, reference)
        host.docker("push", "--quiet", reference, login=registry)
        host.docker("rmi", reference)
        return reference

    def close(self) -> None:
        """End every process and leave nothing behind."""
        with ThreadPoolExecutor() as ending:
            list(ending.map(LabHost.crash, self._hosts.values()))
        for registry in (self._registry, self._closed_registry):
            registry.close()
        self._switch.close()
        self.ground.give_back()

    def _add(self, name: str) -> "LabHost":
        host = LabHost(name, 11 + len(self._hosts), self)
        self._hosts[name] = host
        return host

    def wire(self, host: "LabHost", pid: int) -> None:
        """Plug a host's end of a cable into the switch."""
        self._switch.plug(host.name, f"02:77:00:00:{self.ground.number:02x}:{host.last:02x}", pid)

    def link(self, host: "LabHost", state: str) -> None:
        """Set a host's port of the switch up or down."""
        self._switch.ip(f"link set {host.name} {state}")


class LabHost:
    """One host: how to reach it over SSH, what root can do on it, and what can go wrong with it."""

    port = 22
    user = _USER

    def __init__(self, name: str, last: int, lab: Lab) -> None:
        self.name, self.last, self._lab = name, last, lab
        self.address = lab.ground.address(last)
        self.private_key, self.public_key = lab.private_key, lab.public_key
        self._host_private_key, self.host_key = sshd.new_key()
        self.folder = lab.ground.folder / name
        self._shell: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._dockerd_killed = self._cut = self._filled = False

    def exec(self, *argv: str, stdin: bytes = b"", user: str = "root") -> str:
        """Run words on the host to their end and return what they printed; LabError if they fail."""
        done = self.run(*argv, stdin=stdin, user=user)
        if done.returncode != 0:
            said = (done.stdout + done.stderr).decode(errors="replace").strip()
            raise LabError(f"{self.name}: {' '.join(argv)} ended with {done.returncode}: {said[-2000:]}")
        return done.stdout.decode(errors="replace")

    def run(self, *argv: str, stdin: bytes = b"", user: str = "root") -> subprocess.CompletedProcess[bytes]:
        """Run words on the host and return how it went."""
        home = "/root" if user == "root" else f"/home/{user}"
        become = () if user == "root" else ("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups")
        enter = (
            "nsenter",
            "-t",
            str(self._pid),
            "-m",
            "-u",
            "-i",
            "-n",
            "-p",
            "-r",
            f"-w{home}" if user == "root" else "-w/",
        )
        clean = ("env", "-i", f"PATH={_PATH}", f"HOME={home}", f"USER={user}", f"--chdir={home}")
        return subprocess.run([*enter, *clean, *become, *argv], input=stdin, capture_output=True, check=False)

    @property
    def pid(self) -> int:
        """Of its first process, as this machine numbers it."""
        return self._pid

    @property
    def docker_words(self) -> tuple[str, ...]:
        """What to type on this machine before a docker command so that it reaches the host's engine."""
        return ("docker", "--host", f"unix:///proc/{self._pid}/root/run/docker.sock")

    def docker(self, *argv: str, login: Registry | None = None) -> str:
        """A docker command on the host's engine, and what it printed; typed by who is logged in at this registry."""
        words = login.push_words(self.docker_words) if login else self.docker_words
        done = subprocess.run([*words, *argv], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LabError(
                f"{self.name}: docker {' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()[-2000:]}"
            )
        return done.stdout.strip()

    def load(self, *recipes: images.Recipe) -> None:
        """Make these images on the host's engine, unless they are there."""
        for recipe in recipes:
            images.ensure(recipe, self.docker_words)

    def cut(self) -> None:
        """Pull the network cable: nothing comes, nothing goes, nobody is told."""
        self._lab.link(self, "down")
        self._cut = True

    def heal(self) -> None:
        """Plug it in again."""
        self._lab.link(self, "up")
        self._cut = False
        until(self._reachable, f"{self.name} is reachable again")

    def kill_dockerd(self) -> None:
        """Kill the engine as the kernel does when memory runs out: no goodbye, containers' processes live on."""
        self._tell("kill dockerd")
        self._dockerd_killed = True

    def start_dockerd(self) -> None:
        """Start the engine and wait until it answers."""
        self._tell("start dockerd")
        self._dockerd_killed = False
        until(self._docker_answers, f"{self.name}'s engine answers", 90)

    def change_host_key(self) -> None:
        """Have its sshd show another key, as after a reinstallation; who is logged in is thrown out."""
        self._host_private_key, self.host_key = sshd.new_key()
        self.exec("tee", _HOST_KEY, stdin=self._host_private_key.encode())
        self.restart_sshd()

    def restart_sshd(self, *more: str) -> None:
        """Start it with these lines of configuration beside its own, until the next time; sessions end."""
        self.exec("tee", _SSHD_CONFIG, stdin="\n".join((self._sshd_config(), *more, "")).encode())
        self._tell("kill sshd")
        sessions = self.run("pgrep", "--uid", self.user, "sshd").stdout.decode().split()
        if sessions:
            self.exec("kill", *sessions)
        self._tell("start sshd")
        until(self._reachable, f"{self.name} is reachable again")

    def _sshd_config(self) -> str:
        return sshd.config(address=self.address, port=self.port, user=self.user, host_key_file=_HOST_KEY)

    def fill(self, leave_mb: int = 1) -> None:
        """Fill the disk, but for so many MB."""
        self.unfill()
        free = int(self.exec("df", "--output=avail", "--block-size=1M", "/var/lib/docker").split()[-1])
        self.exec("fallocate", "--length", f"{max(1, free - leave_mb)}M", "/var/lib/docker/.ballast")
        self._filled = True

    def unfill(self) -> None:
        """Make room again."""
        self.exec("rm", "-f", "/var/lib/docker/.ballast")
        self._filled = False

    def crash(self) -> None:
        """Power loss: everything on the host stops at once; its disk is kept."""
        if self._shell is None:
            return
        if self._shell.poll() is None:
            subprocess.run(["kill", "-KILL", str(self._pid)], check=False, capture_output=True)
        _close(self._shell)
        self._shell = None
        # two loop devices on one image would each believe their own picture of the disk
        until(lambda: not ground.loops_of(self.folder), f"{self.name}'s disk is let go")

    def boot(self) -> None:
        """Power on, and wait until sshd and the engine answer."""
        self.folder.mkdir(mode=0o755, exist_ok=True)
        image = self.folder / "disk.img"
        if not image.exists():
            _format(image)
        self._spawn()
        self._lab.wire(self, self._pid)
        self._send(json.dumps(self._plan(image)))
        self._heard("up")
        self._dockerd_killed = self._cut = False
        until(lambda: self._docker_answers() and self._reachable(), f"{self.name} is up\n{self.logs()}", 90)

    def mend(self) -> None:
        """Undo whatever a test did to it."""
        if self._shell is None or self._shell.poll() is not None:
            self.boot()
        if self._cut:
            self.heal()
        if self._filled:
            self.unfill()
        if self._dockerd_killed or not self._docker_answers():
            self.start_dockerd()

    def wipe(self) -> None:
        """Remove every container, volume and network, and what the kit keeps; images stay."""
        for kind, remove in (
            ("container", ("rm", "--force", "--volumes")),
            ("network", ("rm",)),
            ("volume", ("rm", "--force")),
        ):
            every = ("--all",) if kind == "container" else ("--filter", "type=custom") if kind == "network" else ()
            found = self.docker(kind, "ls", "--quiet", *every).split()
            if found:
                self.docker(kind, *remove, *found)
        self.exec("rm", "-rf", f"/home/{self.user}/.slipway")

    def logs(self) -> str:
        """The end of what its daemons said."""
        ends = [
            f"== {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in sorted(self.folder.glob("*.log"))
        ]
        return "\n".join(ends)

    def _plan(self, image: Path) -> dict[str, object]:
        lab = self._lab.ground
        registry = f"{lab.address(1)}:{_REGISTRY_PORT}"
        return {
            "name": self.name,
            "user": self.user,
            "folder": str(self.folder),
            "image": str(image),
            "address": f"{self.address}/24",
            "hosts": [f"{lab.address(1)} registry.lab git.lab"],
            "hidden": ["/root", str(Path(__file__).resolve().parents[2])],
            "authorized_key": self.public_key,
            "host_private_key": self._host_private_key,
            "sshd_config": self._sshd_config(),
            "sshd": [_program("sshd"), "-D", "-e", "-f", _SSHD_CONFIG],
            "dockerd": [
                _program("dockerd"),
                f"--registry-mirror=http://{registry}",
                f"--insecure-registry=registry.lab:{_REGISTRY_PORT}",
                f"--insecure-registry=registry.lab:{_CLOSED_PORT}",
                f"--insecure-registry={registry}",
                f"--cgroup-parent=/{lab.prefix}-{self.name}",
                "--exec-opt=native.cgroupdriver=cgroupfs",
            ],
        }

    def _spawn(self) -> None:
        apart = ("--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child=KILL", "--propagation=private")
        first = (sys.executable, "-I", "-S", str(Path(__file__).with_name("init.py")))
        environment = {"PATH": _PATH}
        with (self.folder / "init.log").open("ab") as log:
            shell = subprocess.Popen(
                ["unshare", *apart, *first], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment
            )
        self._shell = shell
        children = Path(f"/proc/{shell.pid}/task/{shell.pid}/children")
        until(lambda: shell.poll() is None and bool(children.read_text().split()), f"{self.name}'s first process runs")
        self._pid = int(children.read_text().split()[0])
        self._lab.ground.note(self._pid)

    def _tell(self, order: str) -> None:
        self._send(order)
        self._heard("done")

    def _send(self, line: str) -> None:
        assert self._shell is not None
        assert self._shell.stdin is not None
        self._shell.stdin.write(line.encode() + b"\n")
        self._shell.stdin.flush()

    def _heard(self, word: str) -> None:
        assert self._shell is not None
        assert self._shell.stdout is not None
        if _line(self._shell.stdout) != word:
            raise LabError(f"{self.name} did not answer {word!r}\n{self.logs()}")

    def _docker_answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as engine:
            engine.settimeout(2)
            try:
                engine.connect(f"/proc/{self._pid}/root/run/docker.sock")
                engine.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
                return b" 200 " in engine.recv(64)
            except OSError:
                return False

    def _reachable(self) -> bool:
        return _answers(self.address, self.port, b"SSH-")


class _Switch:
    """A bridge in a namespace of its own: the machine's own firewall never sees what hosts say to each other."""

    def __init__(self, at: ground.Ground) -> None:
        self._holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        at.note(self._holder.pid)
        ours = Path("/proc/self/ns/net").readlink()
        until(lambda: Path(f"/proc/{self._holder.pid}/ns/net").readlink() != ours, "the switch has its namespace")
        _ip("", f"link add {at.prefix} type veth peer name uplink netns {self._holder.pid}")
        _ip("", f"addr add {at.address(1)}/24 dev {at.prefix}", f"link set {at.prefix} up")
        self.ip("link add br0 type bridge", "link set br0 up", "link set uplink master br0", "link set uplink up")

    def plug(self, name: str, hardware_address: str, pid: int) -> None:
        self._unplug(name)
        # the same address after every boot, or neighbours would go on calling the old one for a while
        self.ip(
            f"link add {name} type veth peer name eth0 address {hardware_address} netns {pid}",
            f"link set {name} master br0",
            f"link set {name} up",
        )

    def _unplug(self, name: str) -> None:
        # the kernel takes a dead namespace's interfaces away in its own time
        there = subprocess.run(
            ["nsenter", "-t", str(self._holder.pid), "-n", "ip", "link", "delete", name],
            capture_output=True,
            check=False,
        )
        if there.returncode not in (0, 1):
            raise LabError(f"the switch's port {name}: {there.stderr.decode(errors='replace').strip()}")

    def ip(self, *commands: str) -> None:
        _ip(str(self._holder.pid), *commands)

    def close(self) -> None:
        _close(self._holder)


def _ip(inside: str, *commands: str) -> None:
    enter = ("nsenter", "-t", inside, "-n") if inside else ()
    done = subprocess.run(
        [*enter, "ip", "-batch", "-"], input="\n".join(commands), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise LabError(f"ip {'; '.join(commands)}: {done.stderr.strip()}")


def _format(image: Path) -> None:
    with image.open("wb") as disk:
        disk.truncate(_DISK_MB << 20)
    lazily = "lazy_itable_init=1,lazy_journal_init=1"
    subprocess.run([_program("mkfs.ext4"), "-q", "-F", "-m", "0", "-E", lazily, str(image)], check=True)


def _program(name: str) -> str:
    found = ground.which(name)
    if found is None:
        raise LabError(f"{name} is not installed")
    return found


def _line(stream: IO[bytes], seconds: float = 30.0) -> str:
    ready, _, _ = select.select([stream], [], [], seconds)
    return stream.readline().decode().strip() if ready else ""


def _answers(address: str, port: int, greeting: bytes) -> bool:
    try:
        with socket.create_connection((address, port), timeout=1) as connection:
            return not greeting or connection.recv(len(greeting)) == greeting
    except OSError:
        return False


def _close(process: "subprocess.Popen[bytes]") -> None:
    """End a process that ends when its stdin does."""
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()
    process.wait(timeout=20)
