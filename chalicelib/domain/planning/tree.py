"""What is known of a repository: every name in it, and the text of the few files that say how it is run."""

from pathlib import PurePosixPath
from typing import Any, Final

from pydantic import Field

from chalicelib.domain.words import Noun

# Base names, as `fnmatch` reads them, of the files whose text is worth reading, the most telling first: whoever reads
# them on the host goes through this list until its budget is spent. Never `.env`: a model may be shown what is read.
WANTED: Final[tuple[str, ...]] = (
    "compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml", "Dockerfile", "Procfile",
    "package.json", "requirements*.txt", "pyproject.toml", "Pipfile", "go.mod", "Cargo.toml", "pom.xml",
    "build.gradle", "build.gradle.kts", "gradle-wrapper.properties", "composer.json", "Gemfile", "config.ru",
    ".python-version", "runtime.txt", ".nvmrc", ".node-version", ".ruby-version", "rust-toolchain.toml",
    "pnpm-workspace.yaml", ".yarnrc.yml", "manage.py", "app.py", "main.py", "server.py", "wsgi.py", "asgi.py", "api.py",
    "settings.py", "next.config.*", "vite.config.*", "server.js", "index.js", "app.js", "main.js", "server.mjs",
    "index.mjs", "server.ts", "index.ts", "main.ts", "app.ts", "main.go", "main.rs", "index.php", "app.rb", "routes.rb",
    "base.txt", "prod.txt", "production.txt", "README*", "__init__.py",
)  # fmt: skip
DEEPEST: Final = 2  # folders below the root in which they are looked for
_SOURCES = (".py", ".js", ".mjs", ".cjs", ".ts", ".go", ".rs", ".php", ".rb", ".ru")


class Tree(Noun):
    """A repository as a host saw it. `files` are paths; `texts` holds what was read of them."""

    files: tuple[str, ...] = ()
    texts: dict[str, str] = {}
    truncated: bool = False  # there are more files than are listed here
    names: frozenset[str] = Field(default=frozenset(), exclude=True, repr=False)

    def model_post_init(self, _context: Any, /) -> None:
        object.__setattr__(self, "names", frozenset(self.files))

    def below(self, path: str) -> "Tree":
        """The same tree seen from one of its folders; empty if there is no such folder."""
        folder = path.strip("/")
        if folder in ("", "."):
            return self
        start = f"{folder}/"
        return Tree(
            files=tuple(name.removeprefix(start) for name in self.files if name.startswith(start)),
            texts={name.removeprefix(start): text for name, text in self.texts.items() if name.startswith(start)},
            truncated=self.truncated,
        )

    def has(self, *names: str) -> bool:
        """Are all of these there?"""
        return all(name in self.names for name in names)

    def first(self, *names: str) -> str | None:
        """The first of these that is there."""
        return next((name for name in names if name in self.names), None)

    def present(self, *names: str) -> tuple[str, ...]:
        """Those of these that are there, in the order given."""
        return tuple(name for name in names if name in self.names)

    def text(self, name: str) -> str:
        """What was read of a file; empty if it was not read."""
        return self.texts.get(name, "")

    def folder(self, name: str) -> bool:
        return any(path.startswith(f"{name}/") for path in self.files)

    def called(self, base_name: str) -> tuple[str, ...]:
        """Every path with that base name, the shallowest first."""
        return tuple(
            sorted(
                (path for path in self.files if PurePosixPath(path).name == base_name),
                key=lambda at: (at.count("/"), at),
            )
        )

    @property
    def sources(self) -> dict[str, str]:
        """The program texts among what was read."""
        return {name: text for name, text in sorted(self.texts.items()) if name.endswith(_SOURCES)}
