"""Sealed values open for their owner alone."""

import pytest
from cryptography.exceptions import InvalidTag

from chalicelib.domain.errors import Unavailable
from tests.emulator import Panel


def test_what_was_sealed_opens_again(panel: Panel) -> None:
    secret = b"x" * 100_000

    sealed = panel.sealer.seal(secret, "svc_a")

    assert secret not in sealed
    assert panel.sealer.unseal(sealed, "svc_a") == secret


def test_a_value_moved_to_another_owner_does_not_open(panel: Panel) -> None:
    sealed = panel.sealer.seal(b"secret", "svc_a")

    with pytest.raises(Unavailable):
        panel.sealer.unseal(sealed, "svc_b")


def test_a_changed_value_does_not_open(panel: Panel) -> None:
    sealed = bytearray(panel.sealer.seal(b"secret", "svc_a"))
    sealed[-1] ^= 1

    with pytest.raises(InvalidTag):
        panel.sealer.unseal(bytes(sealed), "svc_a")
