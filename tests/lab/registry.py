"""A registry of a lab: open to everyone, or only to who logs in."""

import base64
import http.client
import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import bcrypt

from tests.lab.ground import Ground, until

NAME = "registry.lab"


@dataclass(frozen=True)
class Login:
    username: str
    password: str


@dataclass
class Registry:
    """Hosts reach it as `registry.lab:<port>`. It starts with its first image and ends with the process that asked."""

    ground: Ground
    port: int
    login: Login | None = None
    _running: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def name(self) -> str:
        return f"{NAME}:{self.port}"

    @property
    def address(self) -> str:
        return f"{self.ground.address(1)}:{self.port}"

    @property
    def _folder(self) -> Path:
        return self.ground.folder / f"registry-{self.port}"

    def push_words(self, docker: tuple[str, ...]) -> tuple[str, ...]:
        """What to type before `push`: with the login in a configuration of its own, where one is needed."""
        if self.login is None:
            return docker
        known = base64.b64encode(f"{self.login.username}:{self.login.password}".encode()).decode()
        folder = self._folder / "client"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps({"auths": {self.name: {"auth": known}}}))
        return (docker[0], "--config", str(folder), *docker[1:])

    def start(self) -> None:
        if self._running and self._running.poll() is None:
            return
        self._folder.mkdir(exist_ok=True)
        (self._folder / "config.yml").write_text(json.dumps(self._settings()))
        # it ends when its stdin does, so a test run that is killed takes it along
        program = 'docker-registry serve "$0" </dev/null & read _; kill $!; wait'
        with (self._folder / "log").open("ab") as log:
            self._running = subprocess.Popen(
                ["sh", "-c", program, str(self._folder / "config.yml")], stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        self.ground.note(self._running.pid)
        until(self._answers, f"the registry listens on {self.address}")

    def close(self) -> None:
        if self._running:
            assert self._running.stdin is not None
            self._running.stdin.close()
            self._running.wait()

    def _settings(self) -> dict[str, object]:
        settings: dict[str, object] = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(self._folder)}, "delete": {"enabled": True}},
            "http": {"addr": self.address},
        }
        if self.login:
            users = self._folder / "htpasswd"
            hashed = bcrypt.hashpw(self.login.password.encode(), bcrypt.gensalt(4)).decode()
            users.write_text(f"{self.login.username}:{hashed}\n")
            settings["auth"] = {"htpasswd": {"realm": "lab", "path": str(users)}}
        return settings

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(self.ground.address(1), self.port, timeout=1)
        try:
            connection.request("GET", "/v2/")
            return connection.getresponse().status in (http.client.OK, http.client.UNAUTHORIZED)
        except OSError:
            return False
        finally:
            connection.close()
