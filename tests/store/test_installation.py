"""An installation is one, whoever asks first, and the one that its table says."""

from concurrent.futures import ThreadPoolExecutor

from chalicelib.store.installation import InstallationStore
from tests.emulator import Panel


def test_all_who_ask_at_once_are_told_the_same(panel: Panel) -> None:
    with ThreadPoolExecutor(8) as asking:
        told = set(asking.map(lambda _: InstallationStore(panel.table).id(), range(16)))

    assert len(told) == 1
    assert told.pop().startswith("ins_")


def test_what_the_table_says_stands(panel: Panel) -> None:
    assert panel.installation.begin("ins_first") == "ins_first"
    assert panel.installation.begin("ins_second") == "ins_first"
    assert panel.installation.id() == InstallationStore(panel.table).id() == "ins_first"
