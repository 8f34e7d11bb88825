"""Go: one program of the module, built without cgo where it can be, in an image that holds little else."""

import re
import shlex

from chalicelib.domain.planning import dockerfile as write
from chalicelib.domain.planning.build_plan import Given
from chalicelib.domain.planning.found import Found, Unclear, Usual, running
from chalicelib.domain.planning.start import worded
from chalicelib.domain.planning.tree import Tree

_PORT = 8080
_DEFAULT_MINOR = 25
_COMMAND = re.compile(r"cmd/([A-Za-z0-9_][A-Za-z0-9_.-]*)/main\.go", re.ASCII)
_SERVERS = ("server", "web", "api", "app")
_NEEDS_C = ("github.com/mattn/go-sqlite3",)
# Folders that programs read while they run; Go builds none of them in unless it is told to embed.
_READ_WHEN_RUNNING = ("templates", "static", "public", "assets", "views", "web", "migrations", "config")


def found(tree: Tree, given: Given) -> Found | Unclear | None:
    if not tree.has("go.mod"):
        return None
    program, why = _program(tree)
    if program is None:
        return Unclear(
            "go", "main.go, or one program below cmd/ (or one of them named server, web, api, app or as the module)"
        )
    runs = running(
        tree, given, Usual(worded("/app/app"), _PORT, suffixes=(".go",), reasons=("go.mod is a Go module", why))
    )
    with_c = any(name in tree.text("go.mod") for name in _NEEDS_C)
    builder, final = _images(tree, with_c=with_c)
    build = given.build or ("go", "build", "-trimpath", "-ldflags=-s -w", "-o", "/out/app", program)
    kept = [name for name in _READ_WHEN_RUNNING if tree.folder(name)]
    text = write.dockerfile(
        write.base(builder, "build"),
        write.workdir("/src"),
        write.env(CGO_ENABLED=int(with_c)),
        *(
            []
            if tree.folder("vendor")
            else [write.copy(["go.mod", *tree.present("go.sum")]), write.shell("go mod download")]
        ),
        write.copy(["."]),
        write.run(build),
        "",
        write.base(final),
        *write.own_app_folder(),
        write.copy(["/out/app"], "/app/app", stage="build"),
        *[write.copy([f"/src/{name}"], f"/app/{name}", stage="build", owner=write.USER) for name in kept],
        write.env(PORT=runs.port, HOME="/tmp", GIN_MODE="release"),
        *write.ending(runs.port, runs.start.words),
    )
    return Found(
        stack="go",
        dockerfile=text,
        port=runs.port,
        start=runs.start.text,
        build=shlex.join(build),
        base_images=(builder, final),
        reasons=runs.reasons,
        health_path=runs.health_path,
        warnings=runs.warnings,
        assumed=runs.assumed,
    )


def _program(tree: Tree) -> tuple[str | None, str]:
    if tree.has("main.go"):
        return ".", "main.go is the program"
    names = [match[1] for path in tree.files if (match := _COMMAND.fullmatch(path))]
    module = re.search(r"^module\s+(\S+)", tree.text("go.mod"), re.MULTILINE)
    wanted = (module[1].rpartition("/")[2] if module else "", *_SERVERS)
    chosen = names[0] if len(names) == 1 else next((name for name in wanted if name in names), None)
    return (f"./cmd/{chosen}", f"cmd/{chosen} is the program") if chosen else (None, "")


def _images(tree: Tree, *, with_c: bool) -> tuple[str, str]:
    asked = re.search(r"^go\s+1\.(\d{1,3})", tree.text("go.mod"), re.MULTILINE)
    # Go builds what was written for an older Go; never with one older than the module asks for.
    minor = max(_DEFAULT_MINOR, int(asked[1]) if asked else 0)
    return (
        (f"golang:1.{minor}-bookworm", "debian:bookworm-slim") if with_c else (f"golang:1.{minor}-alpine", "alpine:3")
    )
