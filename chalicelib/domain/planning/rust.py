"""Rust: one program of a package, its dependencies compiled in a layer of their own."""

import re
import shlex
import tomllib
from typing import Any

from chalicelib.domain.planning import dockerfile as write
from chalicelib.domain.planning.build_plan import Given
from chalicelib.domain.planning.found import Found, Unclear, Usual, running
from chalicelib.domain.planning.start import worded
from chalicelib.domain.planning.tree import Tree

_PORT = 8080
_BUILDER = "rust:1-bookworm"
_FINAL = "debian:bookworm-slim"  # the same release: the program asks for its C library
_NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_FRAMEWORKS = ("axum", "actix-web", "rocket", "warp", "poem", "hyper")
_READ_WHEN_RUNNING = ("templates", "static", "public", "assets", "migrations", "Rocket.toml")


def found(tree: Tree, given: Given) -> Found | Unclear | None:
    if not tree.has("Cargo.toml"):
        return None
    manifest = _read(tree.text("Cargo.toml"))
    program = _program(tree, manifest)
    if program is None:
        return Unclear("rust", "a [package] in Cargo.toml with src/main.rs, or exactly one [[bin]] with a name")
    framework = next((name for name in _FRAMEWORKS if name in _table(manifest, "dependencies")), "program")
    named = (f"Cargo.toml names {framework}",) if framework != "program" else ()
    runs = running(
        tree,
        given,
        Usual(worded("/app/app"), _PORT, suffixes=(".rs",), reasons=("Cargo.toml is a Rust package", *named)),
    )
    # The library crypto of many packages wants certificates, and OpenSSL's own library, which come together.
    certificates = (
        "apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*"
    )
    build = given.build or ("cargo", "build", "--release", "--bin", program)
    text = write.dockerfile(
        write.base(_BUILDER, "build"),
        write.workdir("/src"),
        *_dependencies(tree, manifest),
        write.copy(["."]),
        # Cargo goes by times, and the empty program above is newer than the sources may be.
        write.shell("find src -name '*.rs' -exec touch {} +"),
        write.run(build),
        write.run(["cp", f"target/release/{program}", "/usr/local/bin/app"]),
        "",
        write.base(_FINAL),
        write.shell(certificates),
        *write.own_app_folder(),
        write.copy(["/usr/local/bin/app"], "/app/app", stage="build"),
        *[
            write.copy([f"/src/{name}"], f"/app/{name}", stage="build", owner=write.USER)
            for name in _READ_WHEN_RUNNING
            if tree.folder(name) or tree.has(name)
        ],
        write.env(PORT=runs.port, HOME="/tmp", ROCKET_ADDRESS="0.0.0.0", ROCKET_PORT=runs.port),
        *write.ending(runs.port, runs.start.words),
    )
    return Found(
        stack=f"rust/{framework}",
        dockerfile=text,
        port=runs.port,
        start=runs.start.text,
        build=shlex.join(build),
        base_images=(_BUILDER, _FINAL),
        reasons=runs.reasons,
        health_path=runs.health_path,
        warnings=runs.warnings,
        assumed=runs.assumed,
    )


def _dependencies(tree: Tree, manifest: dict[str, Any]) -> list[str]:
    """Compile the dependencies with an empty program in place of the real one, where the package is simple enough."""
    simple = tree.has("src/main.rs") and not tree.has("build.rs") and not {"workspace", "bin", "lib"} & manifest.keys()
    if not simple or tree.has("src/lib.rs"):
        return []
    return [
        write.copy(["Cargo.toml", *tree.present("Cargo.lock", "rust-toolchain.toml")]),
        write.shell("mkdir src && echo 'fn main() {}' >src/main.rs && cargo build --release && rm -r src"),
    ]


def _program(tree: Tree, manifest: dict[str, Any]) -> str | None:
    package = _table(manifest, "package").get("name")
    binaries = manifest.get("bin")
    names = [item.get("name") for item in binaries if isinstance(item, dict)] if isinstance(binaries, list) else []
    chosen = names[0] if len(names) == 1 else package if tree.has("src/main.rs") else None
    return chosen if isinstance(chosen, str) and _NAME.fullmatch(chosen) else None


def _read(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def _table(of: dict[str, Any], key: str) -> dict[str, Any]:
    value = of.get(key)
    return value if isinstance(value, dict) else {}
