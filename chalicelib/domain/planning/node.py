"""Node: npm, pnpm and yarn; Next, Nest, Express, a site that Vite builds, or what the start script says."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chalicelib.domain.planning import dockerfile as write
from chalicelib.domain.planning.build_plan import Given
from chalicelib.domain.planning.found import Found, Running, Unclear, Usual, running
from chalicelib.domain.planning.start import NOTHING, Start, typed, worded
from chalicelib.domain.planning.static import site
from chalicelib.domain.planning.tree import Tree
from chalicelib.domain.planning.versions import Version, first_number, newest_fitting

_PORT = 3000
_SUFFIXES = (".js", ".mjs", ".cjs", ".ts")
_KNOWN: tuple[Version, ...] = ((18, 99), (20, 99), (22, 99), (24, 99))  # the newest of each line
_DEFAULT: Version = (24, 99)
_PROGRAMS = (
    "server.js",
    "index.js",
    "app.js",
    "main.js",
    "server.mjs",
    "index.mjs",
    "src/server.js",
    "src/index.js",
    "src/app.js",
)
_DEVELOPING = re.compile(
    r"^(?:next dev|vite(?: dev| serve)?\b(?! build)|nodemon|ts-node-dev|tsx watch|nest start --watch|react-scripts)"
)
# Scripts that npm itself runs when it installs: they may want the sources.
_ON_INSTALL = ("preinstall", "install", "postinstall", "prepare")
_EXACT = re.compile(r"\d+\.\d+\.\d+", re.ASCII)


@dataclass(frozen=True)
class _Package:
    """What package.json says, with whatever is of another type left out."""

    scripts: Mapping[str, str]
    names: frozenset[str]
    development: frozenset[str]
    engine: str
    manager: str
    main: str
    workspaces: bool

    @property
    def installs_with_sources(self) -> bool:
        return self.workspaces or any(name in self.scripts for name in _ON_INSTALL)


@dataclass(frozen=True)
class _Manager:
    name: Literal["npm", "pnpm", "yarn", "berry"]
    files: tuple[str, ...]
    reason: str
    locked: bool
    tool: tuple[str, ...] = ()  # instructions that bring the tool itself

    def install(self, *, all_packages: bool) -> str:
        fewer = {"npm": " --omit=dev", "pnpm": " --prod", "yarn": " --production", "berry": ""}[self.name]
        words = {
            "npm": f"npm {'ci' if self.locked else 'install'} --no-audit --no-fund",
            "pnpm": f"pnpm install{' --frozen-lockfile' if self.locked else ''}",
            "yarn": f"yarn install --non-interactive{' --frozen-lockfile' if self.locked else ''}",
            "berry": f"yarn install{' --immutable' if self.locked else ''}",
        }[self.name]
        return words if all_packages else words + fewer

    @property
    def command(self) -> str:
        return "yarn" if self.name == "berry" else self.name


def found(tree: Tree, given: Given) -> Found | Unclear | None:
    if not tree.has("package.json"):
        return None
    package = _read(tree.text("package.json"))
    if package is None:
        return Unclear("node", "a package.json that is a JSON object")
    manager = _manager(tree, package)
    framework = _framework(package)
    if not given.start and (folder := _site_folder(tree, package, framework)):
        return _static(tree, given, package, manager, framework, folder)
    start, why, sure = _start(tree, package, framework, given.port or _PORT)
    runs = running(
        tree,
        given,
        Usual(
            start,
            _PORT,
            suffixes=_SUFFIXES,
            with_procfile=True,
            fixed_port=framework == "next" and why == "next",
            reasons=_said(manager, framework),
            sure=sure,
        ),
    )
    if not runs.start.words:
        return Unclear("node", "a start script in package.json, a Procfile, or one of " + ", ".join(_PROGRAMS))
    return _program(tree, given, package, manager, framework, runs)


# Reading


def _read(text: str) -> _Package | None:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    development = _texts(said.get("devDependencies")).keys()
    return _Package(
        scripts=_texts(said.get("scripts")),
        names=frozenset(_texts(said.get("dependencies")).keys() | development),
        development=frozenset(development),
        engine=_texts(said.get("engines")).get("node", ""),
        manager=said["packageManager"] if isinstance(said.get("packageManager"), str) else "",
        main=said["main"] if isinstance(said.get("main"), str) else "",
        workspaces=bool(said.get("workspaces")),
    )


def _texts(value: Any) -> dict[str, str]:
    return {key: text for key, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else {}


def _manager(tree: Tree, package: _Package) -> _Manager:
    configuration = tree.present(".npmrc", ".yarnrc.yml", "pnpm-workspace.yaml")
    name, _, rest = package.manager.partition("@")
    version = match[0] if (match := _EXACT.match(rest)) else None
    if name == "pnpm" or tree.has("pnpm-lock.yaml"):
        tool = write.run(["npm", "install", "--global", f"pnpm@{version or '10'}"])
        lock = tree.present("pnpm-lock.yaml")
        reason = "pnpm-lock.yaml is pnpm's" if lock else "package.json names pnpm"
        return _Manager("pnpm", ("package.json", *lock, *configuration), reason, bool(lock), (tool,))
    if name == "yarn" or tree.has("yarn.lock"):
        return _yarn(tree, configuration, version)
    lock = tree.present("package-lock.json", "npm-shrinkwrap.json")
    reason = f"{lock[0]} is npm's" if lock else "there is no lock file: npm"
    return _Manager("npm", ("package.json", *lock, *configuration), reason, bool(lock))


def _yarn(tree: Tree, configuration: tuple[str, ...], version: str | None) -> _Manager:
    lock = tree.present("yarn.lock")
    files = ("package.json", *lock, *configuration)
    reason = "yarn.lock is yarn's" if lock else "package.json names yarn"
    if tree.has(".yarnrc.yml") or (version and not version.startswith("1.")):
        corepack = (
            write.env(COREPACK_HOME="/opt/corepack", COREPACK_ENABLE_DOWNLOAD_PROMPT=0),
            write.shell("npm install --global corepack && corepack enable"),
        )
        return _Manager("berry", files, reason, bool(lock), corepack)
    # Node's images have brought Yarn 1 with them, and will not always
    tool = (write.run(["npm", "install", "--global", "--force", f"yarn@{version or '1.22.22'}"]),)
    return _Manager("yarn", files, reason, bool(lock), tool)


_FRAMEWORKS = (("next", "next"), ("@nestjs/core", "nest"), ("express", "express"), ("vite", "vite"))


def _framework(package: _Package) -> str:
    return next((name for dependency, name in _FRAMEWORKS if dependency in package.names), "program")


def _said(manager: _Manager, framework: str) -> tuple[str, ...]:
    dependency = next((dependency for dependency, name in _FRAMEWORKS if name == framework), None)
    return (manager.reason, *([f"package.json names {dependency}"] if dependency else []))


# Sites that are built once and served as files


def _site_folder(tree: Tree, package: _Package, framework: str) -> str | None:
    if framework == "next":
        exported = any(
            re.search(r"output\s*:\s*[\"']export[\"']", text)
            for name, text in tree.texts.items()
            if name.startswith("next.config.")
        )
        return "out" if exported else None
    if framework != "vite" or "build" not in package.scripts or tree.has("Procfile"):
        return None
    start = package.scripts.get("start", "vite")
    if not re.match(r"(?:npx )?vite\b", start):
        return None
    configured = [
        match[1]
        for name, text in tree.texts.items()
        if name.startswith("vite.config.")
        and (match := re.search(r"outDir\s*:\s*[\"']\.?/?([\w-]+)[\"']", text, re.ASCII))
    ]
    return configured[0] if configured else "dist"


def _static(tree: Tree, given: Given, package: _Package, manager: _Manager, framework: str, folder: str) -> Found:
    image, why = _image(tree, package)
    build = [*given.build] or [manager.command, "run", "build"]
    builder = (
        write.base(image, "build"),
        write.workdir("/app"),
        *_installed(manager, package, all_packages=True),
        write.copy(["."]) if not package.installs_with_sources else "",
        write.run(build),
        "",
    )
    seen = f"package.json names {framework}, whose build is a folder of files: {folder}"
    return site(
        stack=f"node/{framework}/{manager.command}",
        before=[line for line in builder if line] + [""],
        copied=write.copy([f"/app/{folder}/."], "/srv/", stage="build"),
        one_page=framework == "vite",
        build=shlex.join(build),
        base_images=(image,),
        reasons=(manager.reason, seen, why),
        given=given,
    )


# Programs


def _start(tree: Tree, package: _Package, framework: str, port: int) -> tuple[Start, str, bool]:
    """How it is started, which rule said so, and whether it was seen rather than guessed."""
    if framework == "next":
        script = package.scripts.get("start", "next start")
        if re.fullmatch(r"next start(?: -p \S+| --port \S+| -H \S+)*", script):
            return worded("next", "start", "-H", "0.0.0.0", "-p", str(port)), "next", True
    for name in ("start:prod", "start"):
        script = package.scripts.get(name, "")
        if (
            script
            and not (name == "start" and _DEVELOPING.match(script))
            and not (framework == "nest" and script.startswith("nest start"))
        ):
            whole = f"pre{name}" in package.scripts
            return (worded("npm", "run", name) if whole else typed(script)), name, True
    if framework == "nest":
        return worded("node", "dist/main"), "nest", True
    if package.main in tree.names and re.fullmatch(r"[\w./-]+\.[cm]?js", package.main):
        return worded("node", package.main), "main", True
    program = tree.first(*_PROGRAMS)
    return (worded("node", program) if program else NOTHING), "program", False


def _program(tree: Tree, given: Given, package: _Package, manager: _Manager, framework: str, runs: Running) -> Found:
    image, why = _image(tree, package)
    scripted = (
        [manager.command, "run", "build"]
        if "build" in package.scripts
        else ["npx", "nest", "build"]
        if framework == "nest"
        else []
    )
    build = [*given.build] or scripted
    # What is started may itself be a development package: tsx, say.
    developing = bool(build) or any(word in package.development for word in runs.start.text.split())
    text = write.dockerfile(
        write.base(image),
        *write.own_app_folder(),
        *_installed(manager, package, all_packages=developing),
        *([write.copy(["."], owner=write.USER)] if not package.installs_with_sources else []),
        *([write.run(build)] if build else []),
        # `next build` writes a cache below .next that its server goes on writing
        *([write.shell(f"chown -R {write.USER} .next")] if framework == "next" else []),
        write.env(NODE_ENV="production", PORT=runs.port, HOST="0.0.0.0", HOSTNAME="0.0.0.0", HOME="/tmp"),
        write.path_first("/app/node_modules/.bin"),
        *write.ending(runs.port, runs.start.words),
    )
    early = (
        "packages are installed beside the sources, because package.json has workspaces or scripts that run on install",
    )
    return Found(
        stack=f"node/{framework}/{manager.command}",
        dockerfile=text,
        port=runs.port,
        start=runs.start.text,
        build=shlex.join(build) or manager.install(all_packages=developing),
        base_images=(image,),
        reasons=(*runs.reasons, *(early if package.installs_with_sources else ()), why),
        health_path=runs.health_path,
        warnings=runs.warnings,
        assumed=runs.assumed,
    )


def _installed(manager: _Manager, package: _Package, *, all_packages: bool) -> Sequence[str]:
    copied = write.copy(["."], owner=write.USER) if package.installs_with_sources else write.copy(manager.files)
    return (*manager.tool, copied, write.shell(manager.install(all_packages=all_packages)))


def _image(tree: Tree, package: _Package) -> tuple[str, str]:
    pinned = next((name for name in (".nvmrc", ".node-version") if re.search(r"\d", tree.text(name))), None)
    version = first_number([tree.text(pinned)]) if pinned else None
    if version and version[0] in {major for major, _ in _KNOWN}:
        return f"node:{version[0]}-slim", f"{pinned} asks for Node {version[0]}"
    if package.engine:
        major, _ = newest_fitting(package.engine, _KNOWN, _DEFAULT)
        return f"node:{major}-slim", f"Node {major} fits package.json's engines"
    return f"node:{_DEFAULT[0]}-slim", f"no version of Node is asked for: {_DEFAULT[0]}"
