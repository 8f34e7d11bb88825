"""Where a service's sources are: a repository's address, what of it is deployed, and what opens it.

Nothing here asks anybody: addresses are read by the same rules as on the host (`hostkit/remotes.py`), which judges once
more what a name resolves to.
"""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints

from chalicelib.domain.words import Noun

_NO_REFERENCE = re.compile(r"\.\.|@\{|//|[\x00-\x20\x7f~^:?*\[\\]|\A[-/.]|/\.|\.lock(?:/|\Z)|[/.]\Z|\A@\Z")
_FOLDER = re.compile(r"(?!-)[A-Za-z0-9._@ +-]+(?:/[A-Za-z0-9._@ +-]+)*", re.ASCII)
_KEY: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----\r?\n[A-Za-z0-9+/=\r\n:, -]+-----END [A-Z0-9 ]*PRIVATE KEY-----\s*"
)


def _branch(text: str) -> str:
    if _NO_REFERENCE.search(text):
        raise ValueError("must be a branch's name, such as main or release/2, as git takes it")
    return text


def _folder(text: str) -> str:
    plain = text.strip("/").removeprefix("./").strip("/")
    if plain in ("", "."):
        return ""
    if not _FOLDER.fullmatch(plain) or ".." in plain.split("/") or "." in plain.split("/"):
        raise ValueError("must be a folder of the repository, such as apps/web, without ..")
    return plain


def _key(text: str) -> str:
    if not _KEY.fullmatch(text):
        raise ValueError("must be a private key as ssh-keygen writes it, without a passphrase")
    return text


Branch = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_branch)]
Commit = Annotated[str, StringConstraints(pattern=r"^(?:[0-9a-f]{40}|[0-9a-f]{64})$")]
Folder = Annotated[str, StringConstraints(max_length=300), AfterValidator(_folder)]
Token = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"^[\x21-\x7e]+$")]
DeployKey = Annotated[str, StringConstraints(max_length=16_384), AfterValidator(_key)]


class Repository(Noun):
    """What of which repository is deployed: `commit`, where one is named, else the branch's newest."""

    url: str
    branch: str | None = None  # None: the repository's default branch
    commit: str | None = None
    path: str = ""
    submodules: bool = True


class Credentials(Noun):
    """What opens a private repository; only ever stored sealed."""

    token: str | None = None
    deploy_key: str | None = None

    def secrets(self) -> list[str]:
        """Every value that must not be shown, a key's lines one by one: a log holds lines."""
        key = (self.deploy_key or "").splitlines()
        lines = [line for line in key if line and not line.startswith("-----")]
        return [*([self.token] if self.token else []), *lines]


class Build(Noun):
    """An image that a release is built with. `context` is a folder of the repository, `dockerfile` a path in it.

    `text` is what is built, whatever lies there; the path is empty where the file lies elsewhere or nowhere.
    """

    service: str
    tag: str
    context: str
    dockerfile: str = ""
    text: str = ""
    ignore: str | None = None
    target: str = ""
    args: dict[str, str] = {}
    images: tuple[str, ...] = ()  # what it begins from
