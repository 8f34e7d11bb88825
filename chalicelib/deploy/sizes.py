"""How much a release may be made of: what is stored of it lies in items of DynamoDB, each of which ends at 400 KB."""

import json
import zlib
from collections.abc import Mapping
from typing import Final

from chalicelib.domain.errors import ValidationFailed
from chalicelib.domain.service import Source
from chalicelib.domain.words import finding

# What else an item has (credentials of at most 20 KB, names, what sealing adds) fits into the rest of 409,600 bytes.
MOST_BYTES: Final = 380_000


def refuse_too_large(source: Source) -> None:
    """Raise `ValidationFailed`, before anything is stored, for what would not fit into its items."""
    texts = (source.compose, *source.secret_names)
    size = len(packed_variables(source.variables)) + sum(len(text.encode()) for text in texts)
    if size > MOST_BYTES:
        raise _refused("variables", f"the variables and the compose text take {size} bytes together")
    size = len(packed_source(source))
    if size > MOST_BYTES:
        what = "the release, with each value in each service that takes it, has"
        raise _refused("compose", f"{what} {size} bytes when it is compressed")


def packed_variables(variables: Mapping[str, str]) -> bytes:
    """A service's variables, as they are sealed."""
    return json.dumps(dict(variables), ensure_ascii=False).encode()


def packed_source(source: Source) -> bytes:
    """What a release was made of, as it is sealed."""
    return zlib.compress(source.model_dump_json().encode())


def _refused(path: str, what: str) -> ValidationFailed:
    message = f"{what}; the limit is {MOST_BYTES}"
    return ValidationFailed(message, [finding(path, "too-large", message)])
