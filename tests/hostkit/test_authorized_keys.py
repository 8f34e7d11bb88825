"""Lines of `~/.ssh/authorized_keys`, given and taken away, in a folder that stands for the user's home."""

import os
from pathlib import Path
from typing import Any

import pytest

from chalicelib.hostkit.authorized_keys import authorize, authorized
from chalicelib.hostkit.refusals import Refused

HOST = "host_abcdefgh12345678"
OPTIONS = r'from="10.0.0.0/8",command="say \"hi there\""'
OLD, NEW, OTHER = "ssh-ed25519 AAAAold", "ssh-ed25519 AAAAnew", "ssh-rsa AAAAother"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".ssh").mkdir(0o700)
    return tmp_path / ".ssh" / "authorized_keys"


def change(fence: int = 1, **asked: Any) -> dict[str, Any]:
    return authorize({"host": HOST, "fence": fence, "like": OLD, "add": [], "remove": [], **asked})


@pytest.mark.parametrize(
    ("before", "between"),
    [
        (f"{OLD}\n", f"{OLD}\n{NEW}\n"),
        (f"{OTHER} ann\n{OLD} slipway\n# end\n", f"{OTHER} ann\n{OLD} slipway\n{NEW} slipway\n# end\n"),
        (f"{OTHER}\n{OLD}", f"{OTHER}\n{OLD}\n{NEW}"),
        (
            f"{OPTIONS} {OLD} a b\r\n\n",
            f"{OPTIONS} {OLD} a b\r\n{OPTIONS} {NEW} a b\n\n",
        ),
    ],
)
def test_a_key_takes_the_place_of_another_and_nothing_else_is_changed(file: Path, before: str, between: str) -> None:
    file.write_bytes(before.encode())
    file.chmod(0o640)

    assert change(add=[NEW]) == {"standing": [NEW]}
    assert file.read_bytes().decode() == between
    assert change(remove=[OLD]) == {"standing": []}
    assert file.read_bytes().decode().replace(NEW, OLD).replace("\r", "") == before.replace("\r", "")
    assert file.stat().st_mode & 0o777 == 0o640
    assert os.listdir(file.parent) == ["authorized_keys"]


@pytest.mark.parametrize(
    ("before", "after"),
    [("", f"{NEW}\n"), (f"{OTHER}\n", f"{OTHER}\n{NEW}\n"), (f"{OTHER}", f"{OTHER}\n{NEW}\n")],
)
def test_where_the_present_key_stands_elsewhere_the_new_one_is_the_last_line(
    file: Path, before: str, after: str
) -> None:
    file.write_text(before)

    change(add=[NEW])

    assert file.read_text() == after


def test_a_file_that_was_not_there_is_made_for_its_owner_alone(file: Path) -> None:
    file.parent.rmdir()

    change(add=[NEW])

    assert file.read_text() == f"{NEW}\n"
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_repeat_changes_nothing(file: Path) -> None:
    file.write_text(f"{OLD}\n{NEW}\n")
    before = file.stat().st_ino

    change(add=[NEW], remove=[OTHER])

    assert (file.stat().st_ino, file.read_text()) == (before, f"{OLD}\n{NEW}\n")


def test_only_the_very_key_is_taken_away(file: Path) -> None:
    like = f'{OLD}er\n# {OLD}\nenvironment="K={OLD}" {OTHER}\nssh-rsa {OLD.split()[1]}\n'
    file.write_text(f"{like}{OLD}\n\t{OLD} twice\n")

    assert change(remove=[OLD]) == {"standing": []}

    assert file.read_text() == like


def test_a_link_stays_a_link(file: Path) -> None:
    real = file.parent.parent / "elsewhere"
    real.write_text(f"{OLD}\n")
    file.symlink_to(real)

    change(add=[NEW])

    assert file.is_symlink()
    assert real.read_text() == f"{OLD}\n{NEW}\n"


def test_a_late_change_of_an_older_rotation_is_refused(file: Path) -> None:
    file.write_text(f"{OLD}\n")
    change(fence=7, add=[NEW])

    with pytest.raises(Refused) as refused:
        change(fence=6, remove=[NEW])

    assert refused.value.error == "StaleFence"
    assert file.read_text() == f"{OLD}\n{NEW}\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to somebody else")
def test_a_file_that_somebody_else_keeps_is_left_alone(file: Path) -> None:
    file.write_text(f"{OLD}\n")
    os.chown(file, 12345, -1)

    with pytest.raises(Refused, match="belongs to another user"):
        change(add=[NEW])

    assert file.read_text() == f"{OLD}\n"
    assert os.listdir(file.parent) == ["authorized_keys"]


def test_what_is_no_file_is_not_replaced_by_one(file: Path) -> None:
    pipe = file.parent.parent / "pipe"
    os.mkfifo(pipe)
    file.symlink_to(pipe)

    with pytest.raises(Refused, match="no file"):
        change(add=[NEW])

    assert pipe.is_fifo()


def test_looking_tells_which_keys_stand_there(file: Path) -> None:
    assert authorized({"keys": [OLD]}) == {"standing": []}
    file.write_text(f"restrict {OLD}\n")

    assert authorized({"keys": [OLD, NEW]}) == {"standing": [OLD]}


@pytest.mark.parametrize("key", ["ssh-ed25519", f"{NEW}\n{OTHER}", f'command="x" {NEW}', f"{NEW} comment", 7])
def test_what_is_no_key_is_refused(file: Path, key: Any) -> None:
    with pytest.raises(Refused, match="not a public key"):
        change(add=[key])

    assert not file.exists()


def test_what_is_no_host_id_is_refused(file: Path) -> None:
    with pytest.raises(Refused, match="not a host id"):
        change(host="../../etc", add=[NEW])

    assert not file.exists()
