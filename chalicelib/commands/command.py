"""A command: the words to type and what goes to its standard input.

`str()` is the line a host sees, quoted once. It never shows stdin, where the secrets are.
"""

import shlex
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Command:
    argv: tuple[str, ...]
    stdin: bytes = field(default=b"", repr=False)

    def __str__(self) -> str:
        return shlex.join(self.argv)
