"""The agent as one file: the host kit with its `agent` package, and the `websocket` package as it is installed here.

Packing the same sources gives the same bytes, so its hash says whether a host has it.
"""

import hashlib
import io
import zipfile
from functools import cache
from importlib import metadata
from pathlib import Path

from chalicelib.hostkit import version as kit

# The oldest time a zip can tell; where the sources were unpacked must make no difference.
_TIME = (1980, 1, 1, 0, 0, 0)
_MAIN = "from hostkit.agent.main import main\n\nmain()\n"
_LIBRARY = "websocket"
_DISTRIBUTION = "websocket-client"
# The library's own command-line program and its tests.
_LEFT_OUT = ("_wsdump.py",)


@cache
def version() -> str:
    """Twelve hexadecimal digits, by what the agent is made of."""
    digest = hashlib.sha256()
    for name, text in sorted(_files().items()):
        digest.update(f"{name}\0{len(text)}\0".encode() + text)
    return digest.hexdigest()[:12]


@cache
def package() -> bytes:
    """The program: `python3 agent.pyz run`."""
    packed = io.BytesIO()
    files = {**_files(), "hostkit/agent/VERSION": version().encode()}
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o600 << 16
            archive.writestr(entry, text)
    return packed.getvalue()


@cache
def sha256() -> str:
    return hashlib.sha256(package()).hexdigest()


@cache
def _files() -> dict[str, bytes]:
    files = {"__main__.py": _MAIN.encode()}
    folder = Path(kit.FOLDER)
    for path in [*folder.glob("*.py"), *folder.glob("agent/*.py")]:
        files[f"hostkit/{path.relative_to(folder)}"] = path.read_bytes()
    return files | _library()


def _library() -> dict[str, bytes]:
    """The library's modules and its licence, which has to come with them."""
    found = {}
    for file in metadata.files(_DISTRIBUTION) or []:
        is_module = file.parent.name == _LIBRARY and file.suffix == ".py" and file.name not in _LEFT_OUT
        if is_module or file.name == "LICENSE":
            found[f"{_LIBRARY}/{file.name}"] = Path(str(file.locate())).read_bytes()
    return found
