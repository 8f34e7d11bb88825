"""Sites of files, served by Caddy: a folder with an index.html, or what a build made."""

from collections.abc import Sequence
from typing import Final

from chalicelib.domain.planning import dockerfile as write
from chalicelib.domain.planning.build_plan import Given
from chalicelib.domain.planning.found import Found
from chalicelib.domain.planning.start import worded
from chalicelib.domain.planning.tree import Tree

IMAGE: Final = "caddy:2"  # what every host's edge runs already
_PORT = 8080
_FOLDERS = ("public", "dist", "site", "www", "html", "docs")
_START = worded("caddy", "run", "--config", "/etc/caddy/site", "--adapter", "caddyfile")
# Hidden files are answered like missing ones: a repository's .git or .env is nobody's to read. A page that
# routes by itself is served for every path but those of files; a missing file with a suffix is still missing.
_CONFIGURATION = (
    "{",
    "admin off",
    "auto_https off",
    "}",
    ":%d {",
    "root * /srv",
    "encode gzip",
    "@hidden {",
    "path */.*",
    "not path /.well-known/*",
    "}",
    "respond @hidden 404",
    "%s",
    "file_server",
    "}",
)
_ONE_PAGE = "@page {\nnot path *.*\nnot file\n}\nrewrite @page /index.html"


def found(tree: Tree, given: Given) -> Found | None:
    folder = "" if tree.has("index.html") else next((name for name in _FOLDERS if tree.has(f"{name}/index.html")), None)
    if folder is None:
        return None
    at = f"{folder}/index.html" if folder else "index.html"
    return site(
        stack="static/html",
        before=(),
        copied=write.copy([f"{folder}/" if folder else "."], "/srv/"),
        one_page=False,
        build=None,
        base_images=(),
        reasons=(f"{at} is a page, and there is no program",),
        given=given,
    )


def site(
    *,
    stack: str,
    before: Sequence[str],
    copied: str,
    one_page: bool,
    build: str | None,
    base_images: tuple[str, ...],
    reasons: tuple[str, ...],
    given: Given,
) -> Found:
    """What `copied` puts into /srv, served; `before` are the stages that made it."""
    port = given.port or _PORT
    text = write.dockerfile(
        *before,
        write.base(IMAGE),
        # Written before the files, which change more often.
        write.shell(f"printf '%s\\n' {_quoted(port, one_page=one_page)} >/etc/caddy/site"),
        copied,
        write.env(XDG_CONFIG_HOME="/tmp", XDG_DATA_HOME="/tmp"),
        *write.ending(port, _START.words),
    )
    return Found(
        stack=stack,
        dockerfile=text,
        port=port,
        start=_START.text,
        build=build,
        base_images=(*base_images, IMAGE),
        reasons=reasons,
        health_path=given.health_path or "/",
    )


def _quoted(port: int, *, one_page: bool) -> str:
    lines = "\n".join(_CONFIGURATION) % (port, _ONE_PAGE if one_page else "")
    return " ".join(f"'{line}'" for line in lines.splitlines() if line)
