"""Container images made on the spot from programs this machine already has.

Where no registry can be reached an image still has to come from somewhere: a program, the shared libraries it asks for
and busybox's applets are enough for one, streamed straight into `docker import`. Each image carries the hash of what it
was made from, so it is made again only when that changed.
"""

import hashlib
import io
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from chalicelib.domain.errors import SlipwayError

_SOURCE_LABEL = "slipway.source"
_APPLETS = """
[ ash awk base64 basename cat chmod chown cp cut date dd df dirname du echo env expr false find grep gunzip gzip head
hostname httpd id ip kill ln ls md5sum mkdir mktemp mv nc nproc nslookup ping printf ps pwd readlink realpath rm rmdir
sed seq sh sha256sum sleep sort stat sync tail tar tee test timeout top touch tr true uname uniq vi wc wget xargs yes
"""
# glibc opens these by name when a program looks up a user or a host, so `ldd` does not list them
_NAME_SERVICE_LIBRARIES = ("libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2")


class ImageError(SlipwayError):
    """The image could not be made; the message says what this machine lacks."""

    code = "machine_not_ready"


@dataclass(frozen=True)
class Recipe:
    """One image: whole programs, small files written for it, folders taken from the machine, and its configuration."""

    reference: str
    changes: tuple[str, ...]
    programs: tuple[str, ...] = ()
    files: tuple[tuple[str, str, int], ...] = ()
    folders: tuple[tuple[str, tuple[str, ...]], ...] = ()


_DEMO_START = """\
#!/bin/sh
# The shell stays the first process: busybox httpd in its place would ignore SIGTERM and wait to be killed.
exec 3>&1
httpd -f -p "${PORT:-8000}" -h /www &
server=$!
trap 'echo "stopping" >&2; kill $server; exit 0' TERM INT
echo "${SERVICE_NAME:-demo} listens on port ${PORT:-8000}"
echo "a page view is one line on stdout; this line went to stderr" >&2
wait $server
"""
_DEMO_PAGE = """\
#!/bin/sh
caller=${REMOTE_ADDR#"[::ffff:"} caller=${caller%]}
views=""
if [ -d /data ] && echo "$(date -u +%Y-%m-%dT%H:%M:%SZ)" 2>/dev/null >>/data/views; then views=$(wc -l </data/views); fi
echo "$REQUEST_METHOD ${REQUEST_URI:-/} from ${HTTP_X_FORWARDED_FOR:-$caller}${views:+ view $views}" >&3
name=$(printf %s "${SERVICE_NAME:-demo}" | sed 's/&/\\&amp;/g; s/</\\&lt;/g; s/>/\\&gt;/g')
body="<!doctype html><html><head><meta charset=utf-8><title>$name</title></head>
<body><h1>Hello from $name</h1>${views:+<p>This page was seen $views times.</p>}</body></html>"
printf 'Content-Type: text/html; charset=utf-8\\r\\nCache-Control: no-store\\r\\n\\r\\n%s\\n' "$body"
"""

BUSYBOX = Recipe("busybox:1", changes=('CMD ["sh"]',))
EDGE = Recipe(
    "slipway/caddy:local",
    changes=(
        "ENV XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data",
        "EXPOSE 80",
        'CMD ["caddy","run","--config","/etc/caddy/caddy.json"]',
    ),
    programs=("caddy",),
    files=(("etc/caddy/caddy.json", '{"admin":{"disabled":true},"apps":{}}\n', 0o644),),
)
DEMO = Recipe(
    "slipway/demo:1",
    changes=("EXPOSE 8000", 'CMD ["/app/start"]'),
    files=(
        ("app/start", _DEMO_START, 0o755),
        ("www/cgi-bin/index.cgi", _DEMO_PAGE, 0o755),
        ("www/healthz", "ok\n", 0o644),
    ),
)
PYTHON = Recipe(
    "python:3.11-slim",
    changes=('CMD ["python3"]', "ENV PYTHONUNBUFFERED=1"),
    programs=("/usr/bin/python3",),
    folders=(
        ("/usr/lib/python3.11", ("test", "idlelib", "tkinter", "ensurepip", "lib2to3", "config-3*", "__pycache__")),
    ),
)


def ensure(recipe: Recipe, docker: Sequence[str]) -> bool:
    """Make the image on the engine that the words `docker` reach, unless it is there already; True if it was made."""
    fingerprint = _fingerprint(recipe)
    if _source_of(recipe.reference, docker) == fingerprint:
        return False
    changes = [word for change in (*recipe.changes, f"LABEL {_SOURCE_LABEL}={fingerprint}") for word in ("-c", change)]
    importing = subprocess.Popen(
        [*docker, "import", *changes, "-", recipe.reference],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert importing.stdin is not None
    assert importing.stdout is not None
    try:
        with importing.stdin as stream:
            write_root(recipe, stream)
    except BrokenPipeError:
        pass  # the engine hung up; what it said is read below
    said = importing.stdout.read().decode(errors="replace").strip()
    importing.stdout.close()
    if importing.wait() != 0:
        raise ImageError(f"{recipe.reference} could not be imported: {said[-500:]}")
    return True


def present(reference: str, docker: Sequence[str]) -> bool:
    """Is there an image of that name on the engine?"""
    return subprocess.run([*docker, "image", "inspect", reference], capture_output=True, check=False).returncode == 0


def write_root(recipe: Recipe, stream: IO[bytes]) -> None:
    """Write the image's root folder as a tar."""
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        _skeleton(tar)
        for source in sorted(_with_libraries(recipe)):
            _add(tar, source.resolve(), str(source).lstrip("/"))
        for program in recipe.programs:
            _add(tar, _found(program).resolve(), f"usr/bin/{Path(program).name}")
        for folder, left_out in recipe.folders:
            _add_folder(tar, Path(folder), left_out)
        for path, text, mode in recipe.files:
            _add_text(tar, path, text, mode)


def _skeleton(tar: tarfile.TarFile) -> None:
    """Folders, a merged /usr as Debian's libraries expect it, a user database and busybox with its applets."""
    for folder in (
        "usr/bin",
        "usr/lib",
        "usr/lib64",
        "usr/sbin",
        "etc/ssl/certs",
        "root",
        "dev",
        "proc",
        "sys",
        "run",
        "var",
    ):
        _add_special(tar, folder, tarfile.DIRTYPE, mode=0o755)
    for folder in ("tmp", "data", "config", "var/tmp"):
        _add_special(tar, folder, tarfile.DIRTYPE, mode=0o1777)
    for name in ("bin", "lib", "lib64", "sbin"):
        _add_special(tar, name, tarfile.SYMTYPE, link=f"usr/{name}")
    _add_text(tar, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n", 0o644)
    _add_text(tar, "etc/group", "root:x:0:\nnogroup:x:65534:\n", 0o644)
    _add_text(tar, "etc/nsswitch.conf", "hosts: files dns\n", 0o644)
    certificates = Path("/etc/ssl/certs/ca-certificates.crt")
    if certificates.exists():
        _add(tar, certificates.resolve(), str(certificates).lstrip("/"))
    _add(tar, _found("busybox").resolve(), "usr/bin/busybox")
    for applet in _APPLETS.split():
        _add_special(tar, f"usr/bin/{applet}", tarfile.SYMTYPE, link="busybox")


def _with_libraries(recipe: Recipe) -> set[Path]:
    programs = [_found(program) for program in ("busybox", *recipe.programs)]
    modules = [module for folder, _ in recipe.folders for module in Path(folder).rglob("*.so")]
    libraries = {library for binary in (*programs, *modules) for library in _libraries(binary)}
    if libraries:
        beside = {library.parent for library in libraries if library.name.startswith("libc.so")}
        libraries |= {
            folder / name for folder in beside for name in _NAME_SERVICE_LIBRARIES if (folder / name).exists()
        }
    return libraries


def _libraries(binary: Path) -> Iterator[Path]:
    # a static program makes ldd exit 1 and list nothing, which is the right answer
    listed = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False).stdout
    for path in re.findall(r"(/[^\s:]+)", listed):
        library = Path(path)
        if library.name.split(".so")[0] != library.name:
            yield library.parent.resolve() / library.name  # /lib is a link to /usr/lib, in the image too


def _found(program: str) -> Path:
    found = shutil.which(program, path=f"{_search_path()}") if "/" not in program else program
    if not found or not Path(found).exists():
        raise ImageError(f"{Path(program).name} is not installed on this machine")
    return Path(found)


def _search_path() -> str:
    return "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


def _source_of(reference: str, docker: Sequence[str]) -> str:
    template = f'{{{{index .Config.Labels "{_SOURCE_LABEL}"}}}}'
    asked = [*docker, "image", "inspect", "-f", template, reference]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def _fingerprint(recipe: Recipe) -> str:
    """What the image is made of: the recipe's own text, this file, and size and age of the machine's programs."""
    digest = hashlib.sha256(repr(recipe).encode() + Path(__file__).read_bytes())
    for program in ("busybox", *recipe.programs):
        facts = _found(program).resolve().stat()
        digest.update(f"{program} {facts.st_size} {int(facts.st_mtime)}\n".encode())
    return digest.hexdigest()[:16]


def _add_folder(tar: tarfile.TarFile, folder: Path, left_out: tuple[str, ...]) -> None:
    if not folder.is_dir():
        raise ImageError(f"{folder} is not on this machine")

    def kept(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        parts = [Path(part) for part in Path(entry.name).parts]
        return None if any(part.match(pattern) for part in parts for pattern in left_out) else _owned_by_root(entry)

    tar.add(folder, arcname=str(folder).lstrip("/"), filter=kept)


def _add(tar: tarfile.TarFile, source: Path, name: str) -> None:
    tar.add(source, arcname=name, recursive=False, filter=_owned_by_root)


def _add_text(tar: tarfile.TarFile, name: str, text: str, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(text.encode()), mode
    tar.addfile(entry, io.BytesIO(text.encode()))


def _add_special(tar: tarfile.TarFile, name: str, kind: bytes, mode: int = 0o777, link: str = "") -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.linkname = kind, mode, link
    tar.addfile(entry)


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
