"""A git server on the lab's switch: repositories made of files that a test gives, read over HTTP by git's own program.

`http://git.lab:<port>/<name>.git`. A repository that needs a password answers 401 without it.
"""

import base64
import gzip
import http.server
import os
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

AUTHOR = {
    "GIT_AUTHOR_NAME": "Author",
    "GIT_AUTHOR_EMAIL": "author@example.com",
    "GIT_COMMITTER_NAME": "Author",
    "GIT_COMMITTER_EMAIL": "author@example.com",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}
_SAFE = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}


class Repository:
    """One that is served. Every `commit` is pushed."""

    def __init__(self, folder: Path, url: str) -> None:
        self.url, self.folder = url, folder
        self._work = folder.with_suffix(".work")
        self._git("init", "--quiet", "--bare", "--initial-branch=main", str(folder), at=folder.parent)
        for setting in ("uploadpack.allowReachableSHA1InWant", "uploadpack.allowFilter"):
            self._git("config", setting, "true", at=folder)

    def commit(self, files: Mapping[str, str | bytes | None], branch: str = "main", message: str = "Change") -> str:
        """Write (or, with None, remove) these files on the branch, and say the commit."""
        if not self._work.exists():
            self._git("clone", "--quiet", str(self.folder), str(self._work), at=self.folder.parent)
        self._git("checkout", "--quiet", "-B", branch)
        for name, content in files.items():
            path = self._work / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return self.publish(branch, message)

    def link(self, name: str, target: str, branch: str = "main") -> str:
        """A symbolic link, committed."""
        (self._work / name).symlink_to(target)
        return self.publish(branch, "Link")

    def submodule(self, path: str, url: str, commit: str, branch: str = "main") -> str:
        """A submodule at `path`, whatever the address is."""
        self._git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
        modules = self._work / ".gitmodules"
        before = modules.read_text() if modules.exists() else ""
        modules.write_text(f'{before}[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n')
        self._git("add", ".gitmodules")
        self._git("commit", "--quiet", "--message", "Submodule")
        return self._pushed(branch)

    def publish(self, branch: str = "main", message: str = "Change") -> str:
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", "--message", message)
        return self._pushed(branch)

    def _pushed(self, branch: str) -> str:
        self._git("push", "--quiet", "--force", "origin", branch)
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *words: str, at: Path | None = None) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder.parent), **AUTHOR}
        done = subprocess.run(
            ["git", *words], cwd=at or self._work, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"git {' '.join(words)}: {done.stderr}"
        return done.stdout


class GitServer:
    """Serves `folder` at an address until it is left."""

    def __init__(self, folder: Path, address: str, name: str = "git.lab") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.passwords: dict[str, str] = {}
        self.redirects: dict[str, str] = {}
        self._server = http.server.ThreadingHTTPServer((address, 0), type("Handler", (_Handler,), {"git": self}))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.base = f"http://{name}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def repository(self, name: str, password: str | None = None) -> Repository:
        """A new one, empty."""
        if password:
            self.passwords[name] = password
        return Repository(self.folder / f"{name}.git", f"{self.base}/{name}.git")


class _Handler(http.server.BaseHTTPRequestHandler):
    git: GitServer  # set by it, in a class of its own
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self._body()
        path, _, query = self.path.partition("?")
        name = path.lstrip("/").partition(".git")[0]
        if name in self.git.redirects:
            self._say(302, [("Location", self.git.redirects[name] + path + "?" + query)], b"")
        elif name in self.git.passwords and not self._knows(self.git.passwords[name]):
            self._say(401, [("WWW-Authenticate", 'Basic realm="git"')], b"")
        else:
            self._served(path, query, body)

    do_GET = do_POST = _answer  # noqa: N815 - names that the standard library looks for

    def _knows(self, password: str) -> bool:
        kind, _, told = self.headers.get("Authorization", "").partition(" ")
        return kind == "Basic" and base64.b64decode(told).decode().partition(":")[2] == password

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        else:
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _served(self, path: str, query: str, body: bytes) -> None:
        environment = {
            **_SAFE,
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.git.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_ADDR": self.client_address[0],
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        pairs = [line.partition(": ")[::2] for line in head.decode().split("\r\n") if line]
        status = next((int(value.split()[0]) for key, value in pairs if key == "Status"), 200)
        self._say(status, [(key, value) for key, value in pairs if key != "Status"], content)

    def _say(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        for key, value in [*headers, ("Content-Length", str(len(content)))]:
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Silence: a test that fails shows what git said."""
