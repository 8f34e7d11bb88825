"""The rules in their order: a compose file, a Dockerfile, then each stack."""

from collections.abc import Callable
from typing import Final

from chalicelib.domain.errors import CannotPlan
from chalicelib.domain.planning import composed, go, java, node, php, python, ruby, rust, static
from chalicelib.domain.planning import dockerfile as write
from chalicelib.domain.planning.build_plan import DOCKERFILE, BuildPlan, Given, one_service
from chalicelib.domain.planning.found import Found, Unclear
from chalicelib.domain.planning.start import health_path, procfile
from chalicelib.domain.planning.tree import DEEPEST, Tree

# A compiled program names its stack beyond doubt; scripts may lie beside anything; a page may lie beside all of them.
_STACKS: Final[tuple[Callable[[Tree, Given], Found | Unclear | None], ...]] = (
    go.found, rust.found, java.found, ruby.found, php.found, python.found, node.found, static.found,
)  # fmt: skip
_LOOKED_FOR: Final = (
    *composed.COMPOSE_FILES, "Dockerfile", "go.mod", "Cargo.toml", "pom.xml", "build.gradle", "Gemfile",
    "composer.json", "index.php", "requirements.txt", "pyproject.toml", "Pipfile", "main.py", "package.json",
    "index.html",
)  # fmt: skip
_DOCKERFILE_PORT = 8080
_NODE_STARTERS = ("node", "npm", "npx", "pnpm", "yarn", "next")
_MOST_HINTS = 5


def plan(tree: Tree, *, path: str = "", given: Given | None = None) -> BuildPlan:
    """The plan for the folder `path` of a repository; all paths of the plan are below it.

    Raise `CannotPlan` where nothing says how it is run, and `ValidationFailed` where its compose file cannot be read.
    """
    inside = tree.below(path)
    if not inside.files:
        raise CannotPlan(f"there is no file in {path}" if path else "the repository is empty", {"looked_for": []})
    decided = given or Given()
    return _composed(inside) or _own_dockerfile(inside, decided) or _detected(inside, decided)


def _composed(tree: Tree) -> BuildPlan | None:
    found = composed.compose_of(tree)
    if found is None:
        return None
    name, document = found
    services = composed.services_of(document)
    built = [service for service, how in services.items() if how.get("build")]
    images = tuple(
        dict.fromkeys(str(how["image"]) for how in services.values() if "image" in how and not how.get("build"))
    )
    return BuildPlan(
        kind="compose",
        stack="compose",
        reasons=(f"{name} says what to run", *((f"it builds {', '.join(built)}",) if built else ())),
        compose=tree.text(name),
        port=composed.routed_port(services),
        base_images=images,
    )


def _own_dockerfile(tree: Tree, given: Given) -> BuildPlan | None:
    if not tree.has("Dockerfile"):
        return None
    text = tree.text("Dockerfile")
    exposed = composed.exposed(text)
    port = given.port or exposed or _DOCKERFILE_PORT
    health, health_reasons = (given.health_path, ()) if given.health_path else health_path(tree.sources)
    return BuildPlan(
        kind="dockerfile",
        stack="dockerfile",
        reasons=("Dockerfile says how it is built", *((f"it exposes {exposed}",) if exposed else ()), *health_reasons),
        warnings=composed.needs_buildkit(text),
        assumed=(*(() if exposed or given.port else ("port",)), *(() if health else ("health_path",))),
        compose=one_service("Dockerfile", port),
        dockerfile_path="Dockerfile",
        dockerignore=_dockerignore(tree),
        port=port,
        health_path=health,
        start_command=composed.command(text),
        base_images=composed.base_images(text),
    )


def _detected(tree: Tree, given: Given) -> BuildPlan:
    seen = [found for stack in _STACKS if (found := stack(tree, given)) is not None]
    able = [found for found in seen if isinstance(found, Found)]
    if not able:
        raise _cannot(tree, [found for found in seen if isinstance(found, Unclear)])
    chosen = _started_by_procfile(tree, able) or able[0]
    others = [other for other in able if other is not chosen and other.stack != "static/html"]
    beside = tuple(f"it could be {other.stack} too, which was not built" for other in others)
    return BuildPlan(
        kind="detected",
        stack=chosen.stack,
        reasons=chosen.reasons,
        warnings=(*chosen.warnings, *beside),
        assumed=chosen.assumed,
        compose=one_service(DOCKERFILE, chosen.port),
        dockerfile=chosen.dockerfile,
        dockerfile_path=DOCKERFILE,
        dockerignore=_dockerignore(tree),
        port=chosen.port,
        health_path=chosen.health_path,
        build_command=chosen.build,
        start_command=chosen.start,
        base_images=chosen.base_images,
    )


def _started_by_procfile(tree: Tree, able: list[Found]) -> Found | None:
    """Of a Python and a Node that lie side by side, the one that the Procfile starts."""
    first = (procfile(tree).get("web") or " ").split()[:1]
    if not first:
        return None
    language = "node" if first[0] in _NODE_STARTERS else "python"
    return next((found for found in able if found.stack.startswith(f"{language}/")), None)


def _dockerignore(tree: Tree) -> str | None:
    return None if tree.has(".dockerignore") else write.IGNORED


def _cannot(tree: Tree, unclear: list[Unclear]) -> CannotPlan:
    details = {"looked_for": list(_LOOKED_FOR), "missing": [f"{found.stack}: {found.missing}" for found in unclear]}
    if unclear:
        return CannotPlan(
            f"this is {unclear[0].stack}, but nothing says how it is started: add {unclear[0].missing}", details
        )
    below = sorted({at for name in _LOOKED_FOR for at in tree.called(name) if "/" in at and at.count("/") <= DEEPEST})
    if below:
        folder = below[0].rpartition("/")[0]
        hint = f"there is {below[0]}: deploy the folder {folder} by git_path"
        return CannotPlan(
            f"nothing in the root says how this is run, but {hint}", {**details, "found_below": below[:_MOST_HINTS]}
        )
    return CannotPlan(f"nothing says how this is run; looked for {', '.join(_LOOKED_FOR)}", details)
