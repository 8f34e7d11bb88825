"""Secrets are taken out of text by value, whatever the text is: a job's error, a build's output, a container's tail."""

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

SHOWN = "[redacted]"
# Shorter values would blot out ordinary words; a three-letter secret protects nothing.
_SHORTEST = 4
_SECRET_NAME = re.compile(r"PASS|SECRET|TOKEN|PRIVATE|CREDENTIAL|API_?KEY|ACCESS_?KEY|_KEY\Z|\AKEY\Z", re.IGNORECASE)


def looks_secret(name: str) -> bool:
    """A variable's name that people give to secrets: sealed and hidden even where nobody said so."""
    return bool(_SECRET_NAME.search(name))


def secret_values(variables: Mapping[str, str], secret_names: Iterable[str]) -> list[str]:
    named = set(secret_names)
    return [value for name, value in variables.items() if name in named or looks_secret(name)]


class Redactor:
    """Replaces each secret, and its base64 and URL-encoded forms, wherever it stands in strings, lists or objects."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if len(secret) >= _SHORTEST for form in _forms(secret)}
        # Longest first: a form may contain another.
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def clean(self, value: Any) -> Any:
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self._pattern.sub(SHOWN, value)
        if isinstance(value, dict):
            return {self.clean(name): self.clean(inner) for name, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.clean(inner) for inner in value]
        return value


def _forms(secret: str) -> set[str]:
    raw = secret.encode()
    encoded = {form for offset in range(3) for form in _base64_at(offset, raw)}
    escaped = {quote(secret, safe=""), quote_plus(secret), quote(secret)}
    return {secret, *escaped, *(form for form in encoded if len(form) >= _SHORTEST)}


def _base64_at(offset: int, raw: bytes) -> tuple[str, str]:
    """What the secret looks like inside a longer base64 text, where it starts at one of three offsets.

    A character holds six bits: those at the edges also depend on the neighbours, and are left out.
    """
    first, end = -(-8 * offset // 6), 8 * (offset + len(raw)) // 6
    padded = b"\0" * offset + raw
    return (base64.b64encode(padded)[first:end].decode(), base64.urlsafe_b64encode(padded)[first:end].decode())
