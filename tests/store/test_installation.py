"""An installation is one, whoever asks first, and the one that its table says."""

from concurrent.futures import ThreadPoolExecutor

from chalicelib.store.installation import InstallationStore
from tests.emulator import Panel


def test_all_who_ask_at_once_are_told_the_same(panel: Panel) -> None:
    with ThreadPoolExecutor(8) as asking:
        told = set(asking.map(lambda _: InstallationStore(panel.table).id(), range(16)))

    assert len(told) == 1
    assert told.pop().startswith("ins_")


def test_it_stays_what_the_table_says(panel: Panel) -> None:
    first = panel.installation.id()

    assert panel.installation.id() == InstallationStore(panel.table).id() == first
