"""Who is let in on the runner's own machine."""

import os
from pathlib import Path

from infra.local.login import Login, trust


def test_a_key_that_took_the_first_ones_place_is_let_in_at_the_next_start_too(tmp_path: Path) -> None:
    login = Login("ann", os.getuid(), os.getgid(), tmp_path, ours=True)
    keys = trust(login, "ssh-ed25519 FIRST")
    assert (keys.read_text(), keys.stat().st_mode & 0o777) == ("ssh-ed25519 FIRST\n", 0o600)

    keys.write_text("ssh-ed25519 ROTATED\n")

    assert trust(login, "ssh-ed25519 FIRST").read_text() == "ssh-ed25519 ROTATED\n"
