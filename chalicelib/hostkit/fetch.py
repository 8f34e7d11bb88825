"""A repository's files at one commit, fetched as shallow as git can and laid out without a `.git` among them.

Git is a program that does what its configuration, its environment and the repository tell it. Here it has a
configuration of our own and nothing else: no hooks, no filters, no redirects, no credentials but for the repository's
own host, and only the protocol that was judged. Submodules are fetched by this file, not by git, since theirs are
addresses that a customer's repository chose.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from . import compose, places, remotes
from .fence import fenced
from .refusals import Refused

OLDEST = (2, 37)  # the first that connects to an address it is told (http.curloptResolve)
LOCK_WAIT_S = 60.0
MOST_FILES = 200_000
DEEPEST = 4  # submodules of submodules
MOST_SUBMODULES = 50
SUBMODULE = "160000"  # the mode of one in a listing
HERE = "refs/slipway/commit"  # what was last fetched
_ASKPASS = '#!/bin/sh\ncase "$1" in [Uu]sername*) echo oauth2 ;; *) printf "%s\\n" "$SLIPWAY_GIT_TOKEN" ;; esac\n'

Say = Callable[[str], None]


class Tree(NamedTuple):
    """What one commit holds, as far as it matters before it is laid out."""

    submodules: dict[str, str]
    size: int


class Asked(NamedTuple):
    """What every fetch of one job shares."""

    folder: str
    git: dict[str, Any]
    lock: int
    deadline: float
    own: remotes.Remote


def fetch(folder: str, request: dict[str, Any], say: Say) -> int:
    """Lay the repository out in the service's source folder; the commit and the hosts' keys are the job's result."""
    service = places.service_id(request["service"])
    git = request["git"]
    _expect_git()
    own = _read(git["url"], "the repository")
    deadline = time.monotonic() + git["timeout_s"]
    compose.limit_memory()
    _limit_files(git["max_mb"])
    with fenced(service, request["fence"], LOCK_WAIT_S) as lock:
        asked = Asked(os.path.abspath(folder), git, lock, deadline, own)
        try:
            _prepare(asked)
            commit = _all(asked, service, say)
        finally:
            for name in ("key", "askpass"):
                if os.path.exists(f"{folder}/{name}"):
                    os.unlink(f"{folder}/{name}")
    known = places.read(f"{folder}/known_hosts") or ""
    places.write(f"{folder}/result.json", json.dumps({"commit": commit, "known_hosts": known}))
    return 0


def _expect_git() -> None:
    path = shutil.which("git", path=compose.environment()["PATH"])
    told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout if path else ""  # noqa: S603 - words
    found = re.search(r"(\d+)\.(\d+)", told)
    if found is None:
        raise Refused("HostNotReady", "git was not found on the host; install the git package")
    if (int(found[1]), int(found[2])) < OLDEST:
        raise Refused("HostNotReady", f"the host's git is {found[0]}; {OLDEST[0]}.{OLDEST[1]} or newer is needed")


def _limit_files(most_mb: int) -> None:
    """No file, a pack least of all, becomes larger than a repository may be."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_mb << 20, hard))


def _prepare(asked: Asked) -> None:
    if asked.git.get("deploy_key"):
        places.write(asked.folder + "/key", asked.git["deploy_key"].strip() + "\n")
    if asked.git.get("token"):
        places.write(asked.folder + "/askpass", _ASKPASS)
        os.chmod(asked.folder + "/askpass", 0o700)
    places.write(asked.folder + "/known_hosts", asked.git.get("known_hosts") or "")


def _all(asked: Asked, service: str, say: Say) -> str:
    source, store = places.source_folder(service), places.git_folder(service)
    if _size_mb(store) > asked.git["max_mb"]:  # shallow fetches of years; the next one brings what is needed
        shutil.rmtree(store)
    say(f"fetching {asked.git['url']}")
    commit, tree = _one(asked, asked.own, asked.git.get("commit") or _reference(asked.git), f"{store}/main", source)
    left = asked.git["max_mb"] * (1 << 20) - tree.size
    if tree.submodules and asked.git.get("submodules", True):
        _submodules(asked, asked.own.url, tree, f"{store}/main", source, say, _Budget(left, MOST_SUBMODULES))
    say(f"at commit {commit}")
    return commit


class _Budget:
    """What the submodules of one repository may still take, all together."""

    def __init__(self, size: int, count: int) -> None:
        self.size, self.count = size, count

    def take(self, asked: Asked, size: int) -> None:
        self.size, self.count = self.size - size, self.count - 1
        if self.size < 0:
            raise _too_large(asked)
        if self.count < 0:
            raise Refused("RepositoryRefused", f"the repository has more than {MOST_SUBMODULES} submodules")


def _submodules(
    asked: Asked, parent: str, tree: Tree, store: str, source: str, say: Say, budget: _Budget, depth: int = 1
) -> None:
    if depth > DEEPEST:
        raise Refused("RepositoryRefused", f"submodules are nested more than {DEEPEST} deep")
    urls = _submodule_urls(asked, store, source)
    for path, commit in sorted(tree.submodules.items()):
        name = f"submodule {path}"
        if path not in urls:
            raise Refused("RepositoryRefused", f"{name} has no address in .gitmodules")
        try:
            url = remotes.relative(urls[path], parent)
        except remotes.NotAllowed as error:
            raise Refused("RepositoryRefused", f"{name}: {error}") from None
        remote = _read(url, name)
        place = f"{source}/{path}"
        if not os.path.realpath(place).startswith(os.path.realpath(source) + os.sep):
            raise Refused("RepositoryRefused", f"{name} lies outside of the repository")
        say(f"fetching {name} from {url}")
        below = f"{store}-modules/{path.replace('/', '%2f')}"
        _, inner = _one(asked, remote, commit, below, place, what=name)
        budget.take(asked, inner.size)
        if inner.submodules:
            _submodules(asked, url, inner, below, place, say, budget, depth + 1)


def _submodule_urls(asked: Asked, store: str, source: str) -> dict[str, str]:
    """Addresses by path, from the .gitmodules of the commit itself: the file laid out could be a link elsewhere."""
    words = ["config", "--blob", f"{HERE}:.gitmodules", "--null", "--get-regexp", r"^submodule\..*\.(path|url)$"]
    done = _run(asked, None, store, source, words, capture=True)
    if done.returncode != 0:
        return {}
    paths: dict[str, str] = {}
    urls: dict[str, str] = {}
    for entry in done.stdout.decode("utf-8", "replace").split("\0"):
        key, _, value = entry.partition("\n")
        name, _, kind = key.rpartition(".")
        {"path": paths, "url": urls}.get(kind, {})[name] = value
    return {path: urls[name] for name, path in paths.items() if name in urls}


def _one(
    asked: Asked, remote: remotes.Remote, wanted: str, store: str, source: str, what: str = "the repository"
) -> tuple[str, Tree]:
    """One repository at one commit; which commit, and what it holds."""
    try:
        address = remotes.judged(remote, asked.git["allowed_networks"])
    except remotes.NotAllowed as error:
        raise Refused("RepositoryRefused", f"{what}: {error}") from None
    except OSError as error:
        raise Refused("RepositoryUnavailable", f"{what}: unknown host {remote.host}: {error.strerror}") from None
    _configure(asked, remote, address)
    if not os.path.isdir(store):
        _expect(asked, remote, store, source, ["init", "--quiet", "--bare", "--template=", store], what)
    os.makedirs(source, exist_ok=True)
    # Kept under a name, so that the next fetch tells what is here and is sent what is new.
    fetching = [
        "fetch",
        "--quiet",
        "--depth=1",
        "--no-tags",
        "--no-write-commit-graph",
        remote.url,
        f"+{wanted}:{HERE}",
    ]
    _expect(asked, remote, store, source, fetching, what, wanted)
    commit = _expect(asked, None, store, source, ["rev-parse", "--verify", HERE + "^{commit}"], what, capture=True)
    tree = _tree(asked, store, source)
    if tree.size > asked.git["max_mb"] << 20:
        raise _too_large(asked)
    _expect(asked, None, store, source, ["read-tree", "--reset", HERE], what)
    _empty(source)
    _expect(asked, None, store, source, ["checkout-index", "--all", "--force", "--quiet"], what)
    return commit.strip(), tree


def _reference(git: dict[str, Any]) -> str:
    return f"refs/heads/{git['branch']}" if git.get("branch") else "HEAD"


def _empty(source: str) -> None:
    """Nothing of what was here before is a part of this commit."""
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)


def _tree(asked: Asked, store: str, source: str) -> Tree:
    """Read as it comes: a few objects can name more files than any disk holds."""
    submodules, size = {}, 0
    for count, entry in enumerate(_listed(asked, store, source)):
        about, _, path = entry.partition(b"\t")
        mode, _, name, length = about.decode().split()
        if mode == SUBMODULE:
            submodules[path.decode("utf-8", "surrogateescape")] = name
        elif length != "-":
            size += int(length)
        if size > asked.git["max_mb"] << 20:
            raise _too_large(asked)
        if count >= MOST_FILES:
            raise Refused("RepositoryRefused", f"the repository has more than {MOST_FILES} files")
    return Tree(submodules, size)


def _listed(asked: Asked, store: str, source: str) -> Iterator[bytes]:
    words = ["ls-tree", "-r", "-l", "-z", "--full-tree", HERE]
    child = subprocess.Popen(  # noqa: S603 - words, no shell
        _words(store, source, words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=_environment(asked, None),
    )
    assert child.stdout is not None
    rest = b""
    try:
        while part := child.stdout.read(1 << 16):
            *entries, rest = (rest + part).split(b"\0")
            yield from entries
    finally:
        child.stdout.close()
        child.kill()
        child.wait()


def _expect(
    asked: Asked,
    remote: remotes.Remote | None,
    store: str,
    source: str,
    words: list[str],
    what: str,
    wanted: str = "",
    *,
    capture: bool = False,
) -> str:
    done = _run(asked, remote, store, source, words, capture=capture)
    if done.returncode != 0:
        raise _explained(asked, done.returncode, done.stderr.decode("utf-8", "replace").strip(), what, wanted)
    return done.stdout.decode("utf-8", "replace") if capture else ""


def _run(
    asked: Asked, remote: remotes.Remote | None, store: str, source: str, words: list[str], *, capture: bool
) -> subprocess.CompletedProcess[bytes]:
    child = subprocess.Popen(  # noqa: S603 - words, no shell
        _words(store, source, words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if capture else None,  # else the job's log, by which a cancel finds it
        stderr=subprocess.PIPE,
        env=_environment(asked, remote),
        pass_fds=(asked.lock,),
        start_new_session=True,
    )
    try:
        output, errors = child.communicate(timeout=max(asked.deadline - time.monotonic(), 0.1))
    except BaseException as error:  # out of time, or told to end: with everything it started
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            message = f"not fetched within {asked.git['timeout_s']} s; its server is slow, or the repository too large"
            raise Refused("RepositoryUnavailable", message) from None
        raise
    return subprocess.CompletedProcess(words, child.returncode, output or b"", errors)


def _words(store: str, source: str, words: list[str]) -> list[str]:
    place = [f"--git-dir={os.path.abspath(store)}", f"--work-tree={os.path.abspath(source)}"]
    return ["git", *([] if words[0] == "init" else place), *words]


def _environment(asked: Asked, remote: remotes.Remote | None) -> dict[str, str]:
    """All that git sees. Credentials only where the repository's own host is asked: a submodule may name any other."""
    own = remote is not None and (remote.scheme, remote.host, remote.port) == asked.own[1:4]
    environment = {
        "PATH": compose.environment()["PATH"],
        "HOME": asked.folder,
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": asked.folder + "/gitconfig",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "GIT_LFS_SKIP_SMUDGE": "1",
        # As `protocol.allow=never` with these allowed, whatever the configuration says.
        "GIT_ALLOW_PROTOCOL": remote.scheme if remote else "",
    }
    if own and asked.git.get("token"):
        environment.update({"GIT_ASKPASS": asked.folder + "/askpass", "SLIPWAY_GIT_TOKEN": asked.git["token"]})
    if remote and remote.scheme == "ssh":
        environment.update({"GIT_SSH_COMMAND": _ssh(asked, remote, own), "GIT_SSH_VARIANT": "ssh"})
    return environment


def _ssh(asked: Asked, remote: remotes.Remote, own: bool) -> str:
    options = {
        "BatchMode": "yes",
        "CheckHostIP": "no",
        "ConnectTimeout": "10",
        "HashKnownHosts": "no",
        "HostKeyAlias": remote.host,
        "HostName": places.read(asked.folder + "/address") or remote.host,
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "StrictHostKeyChecking": "accept-new",
        "UserKnownHostsFile": asked.folder + "/known_hosts",
        "GlobalKnownHostsFile": "/dev/null",
    }
    key = asked.folder + "/key" if own and asked.git.get("deploy_key") else "/dev/null"
    words = ["ssh", "-F", "/dev/null", "-i", key, *(f"-o{name}={value}" for name, value in options.items())]
    return " ".join(map(shlex.quote, words))


def _configure(asked: Asked, remote: remotes.Remote, address: str) -> None:
    """Git's whole configuration, for one repository. By a file, since it holds for git's own children too."""
    places.write(asked.folder + "/address", address)
    pinned = f"{remote.host}:{remote.port}:{'[' + address + ']' if ':' in address else address}"
    lines = {
        "core": {
            "hooksPath": "/dev/null",
            "attributesFile": "/dev/null",
            "fsmonitor": "false",
            "bigFileThreshold": "64m",
        },
        "credential": {"helper": ""},
        "fetch": {"recurseSubmodules": "false"},
        "gc": {"auto": "0"},
        "maintenance": {"auto": "false"},
        "http": {"followRedirects": "false", "lowSpeedLimit": "1000", "lowSpeedTime": "30"},
        "submodule": {"recurse": "false"},
    }
    if not remotes.literal(remote.host):
        lines["http"]["curloptResolve"] = pinned
    sections = (
        f"[{name}]\n" + "".join(f"\t{key} = {value}\n" for key, value in keys.items()) for name, keys in lines.items()
    )
    places.write(asked.folder + "/gitconfig", "".join(sections))


def _read(url: str, what: str) -> remotes.Remote:
    try:
        return remotes.read(url)
    except remotes.NotAllowed as error:
        raise Refused("RepositoryRefused", f"{what}: {error}") from None


def _too_large(asked: Asked) -> Refused:
    most = asked.git["max_mb"]
    return Refused("RepositoryRefused", f"the repository is larger than the {most} MB that are allowed")


# What git says, and what that means to whoever gave the address.
_MEANINGS = (
    (r"signal 25|File too large|file size limit", "size"),
    (r"could(n't| not) find remote ref HEAD", "{what}: it is empty, or has no default branch"),
    (r"could(n't| not) find remote ref", "{what}: it has no branch {wanted}"),
    (r"not our ref|unadvertised object|no such remote ref", "{what}: it has no commit {wanted}"),
    (r"could not read (Username|Password)|Authentication failed|Invalid username|HTTP 40[13]|error: 40[13]",
     "{what}: there is none at {url}, or it is private and the git_token given opens it not"),
    (r"not found|returned error: 404|does not exist|not appear to be a git repository|Could not read from remote",
     "{what}: there is none at {url}, or it is private"),
    (r"Unable to follow redirect|redirect|returned error: 30[1278]",
     "{what}: {url} redirects elsewhere; give the address it leads to"),
)  # fmt: skip
_SSH_MEANINGS = (
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed",
     "{what}: its host shows another key than when it was first asked"),
    (r"Permission denied", "{what}: its host refused the git_deploy_key (or none was given)"),
    (r"Connection (refused|timed out)|No route to host", "{what}: its host does not answer"),
)  # fmt: skip


def _explained(asked: Asked, code: int, said: str, what: str, wanted: str) -> Refused:
    lines = said.splitlines()
    last = next(
        (line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1] if lines else f"exit {code}"
    )
    ref = wanted.removeprefix("refs/heads/")
    for pattern, meaning in (*_SSH_MEANINGS, *_MEANINGS):
        if re.search(pattern, said, re.IGNORECASE):
            if meaning == "size":
                return _too_large(asked)
            told = meaning.format(what=what, url=asked.git["url"], wanted=ref)
            return Refused("RepositoryUnavailable", told, {"git": said[-2000:]})
    return Refused("RepositoryUnavailable", f"{what} could not be fetched: {last}", {"git": said[-2000:]})


def _size_mb(folder: str) -> int:
    if not os.path.isdir(folder):
        return 0
    sizes = (os.lstat(f"{root}/{name}").st_size for root, _, names in os.walk(folder) for name in names)
    return sum(sizes) >> 20
