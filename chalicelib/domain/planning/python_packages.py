"""What a Python repository needs: which tool manages its packages, their names, and how they are installed."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from chalicelib.domain.planning import dockerfile as write
from chalicelib.domain.planning.tree import Tree

Manager = Literal["pip", "poetry", "uv", "pipenv"]
_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?")
_INCLUDED = re.compile(r"\s*(?:-r|--requirement|-c|--constraint)[ =]\s*(\S+)")
_LOCAL = re.compile(r"\s*(?:-e|--editable)\b|\s*\.{1,2}(?:/|\s|$)|.*@\s*file:")
_REQUIREMENTS = (
    "requirements.txt",
    "requirements/production.txt",
    "requirements/prod.txt",
    "requirements/base.txt",
    "requirements-prod.txt",
    "requirements.prod.txt",
)
_COMMANDS: dict[Manager, str] = {
    "pip": "pip install -r requirements.txt",
    "poetry": "poetry install --only main --no-interaction",
    "uv": "uv sync --frozen --no-dev",
    "pipenv": "pipenv install --system --deploy",
}
# The names of a pyproject's packages as a requirements file: read from the author's file when the image is built.
_NAMES_OF_PROJECT = (
    "python -c \"import sys; read = __import__('tomllib' if sys.version_info > (3, 11) else 'pip._vendor.tomli', "
    "fromlist=['load']).load; "
    "print(*read(open('pyproject.toml', 'rb'))['project'].get('dependencies', []), sep=chr(10))\" "
    ">/tmp/requirements.txt && pip install -r /tmp/requirements.txt"
)


@dataclass(frozen=True)
class Packages:
    """`files` are copied before the sources, so that their layer is built again only when they change."""

    manager: Manager
    files: tuple[str, ...]
    names: frozenset[str]
    python: str  # the versions of Python that they ask for
    reasons: tuple[str, ...] = ()
    needs_sources: bool = False  # some package lies in the repository itself

    @property
    def command(self) -> str | None:
        if not self.files:
            return None
        if self.manager != "pip":
            return _COMMANDS[self.manager]
        return "pip install ." if "pyproject.toml" in self.files else f"pip install -r {self.files[0]}"

    def naming(self, name: str) -> tuple[str, ...]:
        return (f"{self.files[0]} names {name}",) if self.files and name in self.names else ()

    def install(self, tree: Tree) -> Sequence[str]:
        """The layer of packages alone."""
        if not self.files or self.needs_sources:
            return ()
        folders = {str(PurePosixPath(name).parent) for name in self.files}
        copied = [
            write.copy(
                [name for name in self.files if str(PurePosixPath(name).parent) == folder],
                "./" if folder == "." else f"./{folder}/",
            )
            for folder in sorted(folders)
        ]
        return (*self._tool(), *copied, *self._installed(tree))

    def install_itself(self, tree: Tree) -> Sequence[str]:
        """What can be installed only with the sources beside."""
        if self.needs_sources:
            return (*self._tool(), *self._installed(tree))
        if self.manager == "pip" and "pyproject.toml" in self.files and "[build-system]" in tree.text("pyproject.toml"):
            return (write.shell("pip install --no-deps ."),)
        if self.manager == "uv" and "[build-system]" in tree.text("pyproject.toml"):
            return (write.shell("uv sync --frozen --no-dev"),)
        if self.manager == "poetry" and _poetry_package(tree):
            return (write.shell("poetry install --only-root --no-interaction"),)
        return ()

    def _tool(self) -> Sequence[str]:
        if self.manager == "poetry":
            return (write.shell('pip install "poetry>=2,<3"'), write.env(POETRY_VIRTUALENVS_CREATE="false"))
        if self.manager == "uv":
            return (
                write.shell('pip install "uv<1"'),
                write.env(UV_PROJECT_ENVIRONMENT="/opt/venv", UV_LINK_MODE="copy", UV_PYTHON_DOWNLOADS="never"),
                write.path_first("/opt/venv/bin"),
            )
        return (write.shell("pip install pipenv"),) if self.manager == "pipenv" else ()

    def _installed(self, tree: Tree) -> Sequence[str]:
        if self.manager == "poetry":
            return (write.shell("poetry install --only main --no-root --no-interaction"),)
        if self.manager == "uv":
            return (write.shell("uv sync --frozen --no-dev --no-install-project"),)
        if self.manager == "pipenv":
            locked = tree.has("Pipfile.lock")
            return (write.shell(f"pipenv install --system {'--deploy' if locked else '--skip-lock'}"),)
        if "pyproject.toml" in self.files:
            return (write.shell(_NAMES_OF_PROJECT),)
        return (write.run(["pip", "install", "-r", self.files[0]]),)


def packages(tree: Tree) -> Packages | None:
    """What the repository needs; None if it says nothing of Python's packages."""
    project = _toml(tree.text("pyproject.toml"))
    if tree.has("uv.lock", "pyproject.toml"):
        return _from_project("uv", tree, project, "uv.lock")
    if "poetry" in _table(project, "tool") and (tree.has("poetry.lock") or not tree.has("requirements.txt")):
        return _from_project("poetry", tree, project, "poetry.lock")
    if tree.has("Pipfile"):
        return _from_pipfile(tree)
    requirements = tree.first(*_REQUIREMENTS) or _only_requirements(tree)
    if requirements:
        return _from_requirements(tree, requirements, _python_of(project))
    if "project" in project:
        return _from_project("pip", tree, project, None)
    return None


def _from_project(manager: Manager, tree: Tree, project: Mapping[str, Any], lock: str | None) -> Packages:
    poetry = _table(_table(project, "tool"), "poetry")
    named = [*_texts(_table(project, "project").get("dependencies")), *_named(_table(poetry, "dependencies"))]
    locked = tree.present(lock) if lock else ()
    reason = f"{lock} is {manager}'s" if locked else f"pyproject.toml names the packages, for {manager}"
    readme = tree.present("README.md") if manager == "uv" else ()
    return Packages(manager, ("pyproject.toml", *locked, *readme), _names(named), _python_of(project), (reason,))


def _from_pipfile(tree: Tree) -> Packages:
    pipfile = _toml(tree.text("Pipfile"))
    python = str(_table(pipfile, "requires").get("python_version", ""))
    files = ("Pipfile", *tree.present("Pipfile.lock"))
    return Packages("pipenv", files, _names(_named(_table(pipfile, "packages"))), python, ("Pipfile is pipenv's",))


def _from_requirements(tree: Tree, first: str, python: str) -> Packages:
    files = tuple(_chain(tree, first))
    lines = [line for name in files for line in tree.text(name).splitlines()]
    return Packages(
        "pip",
        files,
        _names(line for line in lines if not line.lstrip().startswith(("#", "-"))),
        python,
        (f"{first} lists the packages",),
        needs_sources=any(map(_LOCAL.match, lines)) or not all(map(write.means_itself, files)),
    )


def _only_requirements(tree: Tree) -> str | None:
    others = [name for name in tree.files if re.fullmatch(r"requirements[\w.-]*\.txt", name, re.ASCII)]
    kept = [name for name in others if not re.search(r"dev|test|lint|docs", name)]
    return kept[0] if len(kept) == 1 else None


def _chain(tree: Tree, first: str) -> Iterator[str]:
    """A requirements file and those that it includes, each once."""
    waiting, seen = [first], {first}
    while waiting:
        name = waiting.pop(0)
        yield name
        for match in filter(None, map(_INCLUDED.match, tree.text(name).splitlines())):
            included = str(PurePosixPath(name).parent / match[1])
            if included in tree.names and included not in seen:
                seen.add(included)
                waiting.append(included)


def _names(lines: Iterable[str]) -> frozenset[str]:
    names = set()
    for match in filter(None, map(_NAME.match, lines)):
        name = re.sub(r"[-_.]+", "-", match[1]).lower()
        names |= {name, *({"fastapi-standard"} if name == "fastapi" and "standard" in (match[2] or "") else ())}
    return frozenset(names)


def _named(listed: Mapping[str, Any]) -> list[str]:
    """A table of packages as requirement lines; extras are kept."""
    return [
        name + (f"[{','.join(_texts(how.get('extras')))}]" if isinstance(how, dict) else "")
        for name, how in listed.items()
    ]


def _python_of(project: Mapping[str, Any]) -> str:
    poetry = _table(_table(_table(project, "tool"), "poetry"), "dependencies")
    return str(_table(project, "project").get("requires-python") or poetry.get("python") or "")


def _poetry_package(tree: Tree) -> bool:
    poetry = _table(_table(_toml(tree.text("pyproject.toml")), "tool"), "poetry")
    return bool(poetry.get("packages")) and poetry.get("package-mode") is not False


def _toml(text: str) -> dict[str, Any]:
    """What the file says; nothing where it is no TOML: its own tool will say so better when the image is built."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def _table(of: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = of.get(key)
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
