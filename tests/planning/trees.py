"""The fixture repositories as a host sees them: names, and the texts that are wanted."""

from fnmatch import fnmatch
from pathlib import Path

from chalicelib.domain.planning import DEEPEST, WANTED, Tree

REPOSITORIES = Path(__file__).with_name("repositories")


def names() -> list[str]:
    return sorted(folder.name for folder in REPOSITORIES.iterdir() if folder.is_dir())


def tree_of(repository: str) -> Tree:
    root = REPOSITORIES / repository
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    wanted = [name for name in files if name.count("/") <= DEEPEST and _is_wanted(Path(name).name)]
    return Tree(files=tuple(files), texts={name: (root / name).read_text() for name in wanted})


def _is_wanted(base_name: str) -> bool:
    return any(fnmatch(base_name, pattern) for pattern in WANTED)
