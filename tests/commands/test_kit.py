"""What a host sees typed, word for word."""

import json
import subprocess
from pathlib import Path

from chalicelib.commands import Command, kit

SERVICE = "svc_abcdefgh12345678"


def program() -> str:
    return f'import sys; sys.path.insert(0, ".slipway/kit-{kit.kit_version()}"); from hostkit.main import main; main()'


def test_a_verb_is_four_words_a_program_and_its_name_and_the_request_is_on_stdin() -> None:
    command = kit.preflight(
        SERVICE,
        installation="ins_a",
        ports=[{"ip": "", "port": 8080, "protocol": "tcp"}],
        min_disk_mb=512,
        pool="10.201.0.0/16",
        networks=1,
    )

    assert command.argv == ("python3", "-I", "-S", "-c", program(), "preflight")
    assert json.loads(command.stdin) == {
        "service": SERVICE,
        "installation": "ins_a",
        "ports": [{"ip": "", "port": 8080, "protocol": "tcp"}],
        "min_disk_mb": 512,
        "pool": "10.201.0.0/16",
        "networks": 1,
        "images": [],
    }


def test_the_line_a_host_sees_is_quoted_once() -> None:
    assert str(Command(("echo", "it's", "$HOME", "a b"))) == """echo 'it'"'"'s' '$HOME' 'a b'"""


def test_what_is_on_stdin_is_in_no_rendering() -> None:
    command = Command(("cat",), b"secret")

    assert "secret" not in str(command)
    assert "secret" not in repr(command)


def test_a_pull_carries_its_logins_on_stdin_only() -> None:
    command = kit.start_pull(
        SERVICE,
        7,
        job="job_abcdefgh12345678.pull.1",
        release=2,
        images=["registry.example.com/app:1"],
        logins={"registry.example.com": {"username": "ann", "password": "s3cret"}},
        wait_s=5,
    )

    assert "s3cret" not in str(command)
    assert json.loads(command.stdin) == {
        "service": SERVICE,
        "fence": 7,
        "job": "job_abcdefgh12345678.pull.1",
        "kind": "pull",
        "release": 2,
        "pull": ["registry.example.com/app:1"],
        "registry_auth": {"registry.example.com": {"username": "ann", "password": "s3cret"}},
        "wait_s": 5,
    }


def test_an_upload_sends_the_document_as_text() -> None:
    command = kit.upload(
        SERVICE,
        7,
        release=2,
        document={"services": {"web": {"image": "demo:1"}}},
        images=["demo:1"],
        networks=[{"name": SERVICE, "edge": True}],
        pool="10.201.0.0/16",
    )

    assert json.loads(command.stdin)["compose"] == '{"services": {"web": {"image": "demo:1"}}}'


def test_installing_the_kit_twice_or_at_once_leaves_one_whole_kit(tmp_path: Path) -> None:
    command = kit.install()

    installers = [subprocess.Popen(command.argv, cwd=tmp_path, stdin=subprocess.PIPE) for _ in range(3)]
    for installer in installers:
        installer.communicate(command.stdin)

    assert [installer.returncode for installer in installers] == [0, 0, 0]
    assert [folder.name for folder in (tmp_path / ".slipway").iterdir()] == [f"kit-{kit.kit_version()}"]
    assert "main.py" in [
        file.name for file in (tmp_path / ".slipway" / f"kit-{kit.kit_version()}" / "hostkit").iterdir()
    ]


def test_an_installed_kit_is_the_version_it_was_asked_for_by(tmp_path: Path) -> None:
    subprocess.run(kit.install().argv, cwd=tmp_path, input=kit.install().stdin, check=True)
    check = kit.check(installation="ins_a", pool="10.201.0.0/16", min_disk_mb=1)

    answer = subprocess.run(check.argv, cwd=tmp_path, input=check.stdin, check=True, capture_output=True).stdout

    assert json.loads(answer)["kit_version"] == kit.kit_version()


def test_keys_that_a_host_shall_let_in_are_on_stdin() -> None:
    command = kit.authorize("host_abcdefgh12345678", 7, like="ssh-ed25519 AAAA", add=["ssh-ed25519 BBBB"])

    assert command.argv == ("python3", "-I", "-S", "-c", program(), "authorize")
    assert json.loads(command.stdin) == {
        "host": "host_abcdefgh12345678",
        "fence": 7,
        "like": "ssh-ed25519 AAAA",
        "add": ["ssh-ed25519 BBBB"],
        "remove": [],
    }
