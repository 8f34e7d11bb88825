"""What nobody needs any more: the folders of old jobs, and kits of other versions."""

from __future__ import annotations

import os
import shutil
import time

from . import places
from .version import FOLDER

KEPT_DAYS = 14
EVERY_S = 3600.0
OWN = os.path.basename(os.path.dirname(FOLDER))
PRUNED = f"{places.HOME}/{OWN}/pruned"  # with the kit; its time is when that was last done


def prune_is_due() -> bool:
    """Once an hour, whoever asks first: each job of two weeks is looked at, too much for every deploy."""
    try:
        age = time.time() - os.stat(PRUNED).st_mtime
    except FileNotFoundError:
        age = EVERY_S
    if 0 <= age < EVERY_S:
        return False
    places.write(PRUNED, "")
    return True


def prune(still_wanted: set[str]) -> None:
    """Remove what is older than two weeks, but for the folders named. Another Slipway may use another kit meanwhile;
    one removed under it is installed again when it is next asked for."""
    oldest = time.time() - KEPT_DAYS * 86400
    kits = [name for name in _names(places.HOME) if name.startswith(("kit-", "new-kit-")) and name != OWN]
    folders = [f"{places.HOME}/{name}" for name in kits] + [f"{places.JOBS}/{name}" for name in _names(places.JOBS)]
    locks = [name for name in _names(places.SERVICES) if name.endswith(".lock")]
    for lock in locks:
        path = f"{places.SERVICES}/{lock}"
        if not os.path.exists(path.removesuffix(".lock")) and os.stat(path).st_mtime < oldest:
            os.unlink(path)  # of a service that was removed; no command of it is still on its way
    for folder in folders:
        if folder not in still_wanted and os.stat(folder).st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)


def _names(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []
