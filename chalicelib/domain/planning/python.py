"""Python: pip, poetry, uv and pipenv; Django, FastAPI, Flask, or what a Procfile or a plain script says."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from chalicelib.domain.planning import dockerfile as write
from chalicelib.domain.planning.build_plan import Given
from chalicelib.domain.planning.found import Found, Running, Unclear, Usual, running
from chalicelib.domain.planning.python_packages import Packages, packages
from chalicelib.domain.planning.start import NOTHING, Start, worded
from chalicelib.domain.planning.tree import Tree
from chalicelib.domain.planning.versions import Version, first_number, newest_fitting

_PORT = 8000
_KNOWN: tuple[Version, ...] = ((3, 9), (3, 10), (3, 11), (3, 12), (3, 13), (3, 14))
_DEFAULT: Version = (3, 13)
_SCRIPTS = ("main.py", "app.py", "server.py", "src/main.py", "src/app.py")
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)
_FACTORY = re.compile(
    r"^(?:async )?def (create_app|make_app|get_app)\(\s*\)|^def (create_app|make_app)\(\w+\s*(?::[^=,)]+)?=",
    re.MULTILINE,
)


@dataclass(frozen=True)
class _App:
    """How a framework's app is started; `server` is a package to add where the repository names none."""

    framework: str
    start: Start
    reasons: tuple[str, ...]
    server: str | None = None
    source_folder: bool = False  # its modules lie in src/
    warnings: tuple[str, ...] = ()


def found(tree: Tree, given: Given) -> Found | Unclear | None:
    needs = packages(tree)
    if needs is None and not tree.first(*_SCRIPTS):
        return None
    needs = needs or Packages("pip", (), frozenset(), "")
    app = _framework(tree, needs, given.port or _PORT)
    script = tree.first(*_SCRIPTS)
    start = app.start if app else worded("python", script) if script else NOTHING
    reasons = (*needs.reasons, *(app.reasons if app else (f"{script} is the program",) if script else ()))
    runs = running(
        tree,
        given,
        Usual(
            start,
            _PORT,
            suffixes=(".py",),
            with_procfile=True,
            fixed_port=app is not None,
            reasons=reasons,
            sure=app is not None,
        ),
    )
    if not runs.start.words:
        return Unclear("python", "a Procfile with a line `web: …`, or one of " + ", ".join(_SCRIPTS))
    return _assembled(tree, given, needs, app, runs)


def _assembled(tree: Tree, given: Given, needs: Packages, app: _App | None, runs: Running) -> Found:
    image, why = _image(tree, needs)
    server = app.server if app and runs.start == app.start else None
    uses_source_folder = app.source_folder if app else False
    text = write.dockerfile(
        write.base(image),
        write.env(PYTHONUNBUFFERED=1, PYTHONDONTWRITEBYTECODE=1, PIP_NO_CACHE_DIR=1, PIP_ROOT_USER_ACTION="ignore"),
        *write.own_app_folder(),
        *needs.install(tree),
        *([write.shell(f'pip install "{_SERVERS[server]}"')] if server else []),
        write.copy(["."], owner=write.USER),
        *needs.install_itself(tree),
        *([write.run(given.build)] if given.build else []),
        write.env(PORT=runs.port, HOME="/tmp", **({"PYTHONPATH": "/app/src"} if uses_source_folder else {})),
        *write.ending(runs.port, runs.start.words),
    )
    added = (f"no server is among the packages: {server} is added",) if server else ()
    return Found(
        stack=f"python/{app.framework if app else 'script'}/{needs.manager}",
        dockerfile=text,
        port=runs.port,
        start=runs.start.text,
        build=shlex.join(given.build) or needs.command,
        base_images=(image,),
        reasons=(*runs.reasons, *added, why),
        health_path=runs.health_path,
        warnings=(*runs.warnings, *(app.warnings if app else ())),
        assumed=runs.assumed,
    )


_SERVERS = {"gunicorn": "gunicorn>=23,<28", "uvicorn": "uvicorn>=0.30,<1"}


def _image(tree: Tree, needs: Packages) -> tuple[str, str]:
    pinned = next((name for name in (".python-version", "runtime.txt") if tree.text(name).strip()), None)
    version = first_number([re.sub(r"^python-", "", tree.text(pinned).strip())]) if pinned else None
    if version in _KNOWN:
        return f"python:3.{version[1]}-slim", f"{pinned} asks for Python 3.{version[1]}"
    if needs.python:
        version = newest_fitting(needs.python, _KNOWN, _DEFAULT)
        return f"python:3.{version[1]}-slim", f"Python 3.{version[1]} fits what the packages ask for"
    return f"python:3.{_DEFAULT[1]}-slim", f"no version of Python is asked for: 3.{_DEFAULT[1]}"


# Frameworks


def _framework(tree: Tree, needs: Packages, port: int) -> _App | None:
    return _django(tree, needs, port) or _fastapi(tree, needs, port) or _flask(tree, needs, port)


def _django(tree: Tree, needs: Packages, port: int) -> _App | None:
    if not tree.has("manage.py") or not ("django" in needs.names or "DJANGO_SETTINGS_MODULE" in tree.text("manage.py")):
        return None
    seen = ("manage.py is Django's", *needs.naming("django"))
    warnings = (
        "Django's ALLOWED_HOSTS must name the host the service answers at",
        "migrations are not run: run them in the start command of a Procfile, if you want them with each release",
    )
    asgi, wsgi = _project_module(tree, "asgi.py"), _project_module(tree, "wsgi.py")
    if asgi and "daphne" in needs.names:
        start = worded("daphne", "-b", "0.0.0.0", "-p", str(port), f"{asgi}:application")
        return _App("django", start, (*seen, f"daphne serves {asgi}"), warnings=warnings)
    if wsgi is None:
        return None
    server = None if "gunicorn" in needs.names else "gunicorn"
    return _App(
        "django", _gunicorn(f"{wsgi}:application", port), (*seen, f"{wsgi} is the project"), server, warnings=warnings
    )


def _project_module(tree: Tree, base_name: str) -> str | None:
    return next((module for path in tree.called(base_name) if "/" in path and (module := _module(path))), None)


def _fastapi(tree: Tree, needs: Packages, port: int) -> _App | None:
    if not needs.names & {"fastapi", "starlette"}:
        return None
    name = "fastapi" if "fastapi" in needs.names else "starlette"
    for path, text in _modules(tree):
        if match := re.search(
            r"^(\w+)\s*(?::[^=\n]+)?=\s*(?:fastapi\.|starlette\.applications\.)?(?:FastAPI|Starlette)\(",
            text,
            re.MULTILINE,
        ):
            target = f"{_module(_below_source(path))}:{match[1]}"
        elif factory := _FACTORY.search(text):
            target = f"{_module(_below_source(path))}:{factory[1] or factory[2]}"
        else:
            continue
        words = ["uvicorn", target, "--host", "0.0.0.0", "--port", str(port), "--proxy-headers"]
        start = worded(*words, *(["--factory"] if not match else []))
        server = None if needs.names & {"uvicorn", "fastapi-standard"} else "uvicorn"
        return _App(name, start, (*needs.naming(name), f"{path} makes the app"), server, path.startswith("src/"))
    return None


def _flask(tree: Tree, needs: Packages, port: int) -> _App | None:
    if "flask" not in needs.names:
        return None
    for path, text in _modules(tree):
        module = _module(_below_source(path))
        if match := re.search(r"^(\w+)\s*(?::[^=\n]+)?=\s*(?:flask\.)?Flask\(", text, re.MULTILINE):
            target = f"{module}:{match[1]}"
        elif made := re.search(r"^(\w+)\s*=\s*(?:create_app|make_app)\(", text, re.MULTILINE):
            target = f"{module}:{made[1]}"
        elif factory := _FACTORY.search(text):
            target = f"{module}:{factory[1] or factory[2]}()"
        else:
            continue
        server = None if "gunicorn" in needs.names else "gunicorn"
        reasons = (*needs.naming("flask"), f"{path} makes the app")
        return _App("flask", _gunicorn(target, port), reasons, server, path.startswith("src/"))
    return None


def _gunicorn(target: str, port: int) -> Start:
    # /dev/shm: gunicorn's heartbeat must not wait for a disk
    return worded("gunicorn", "--bind", f"0.0.0.0:{port}", "--workers", "2", "--worker-tmp-dir", "/dev/shm", target)


_FIRST = ("wsgi.py", "asgi.py", "main.py", "app.py", "server.py", "api.py")


def _modules(tree: Tree) -> Sequence[tuple[str, str]]:
    """The program texts that can be imported: well-known names first, then the shallowest."""

    def order(path: str) -> tuple[int, int, str]:
        base = PurePosixPath(path).name
        return (path.count("/"), _FIRST.index(base) if base in _FIRST else len(_FIRST), path)

    paths = sorted((path for path in tree.texts if path.endswith(".py") and _module(path)), key=order)
    return [(path, tree.text(path)) for path in paths]


def _module(path: str) -> str | None:
    """The dotted name that imports a file; None if it has none."""
    dotted = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return dotted if _MODULE.fullmatch(dotted) else None


def _below_source(path: str) -> str:
    return path.removeprefix("src/")
