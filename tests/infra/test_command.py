"""However a deploy ends, it says so in one line, and its exit status is what shells expect."""

import os
import signal
from pathlib import Path

import pytest

from chalicelib.domain.errors import Unavailable
from infra.deploy import __main__ as command
from infra.deploy import up
from infra.deploy.stages import Stage

GOOD = 'account = "123456789012"\nregion = "eu-central-1"\n'


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`up --stage prod`, and the folder of its file."""
    (tmp_path / "prod.toml").write_text(GOOD)
    words = ["infra.deploy", "up", "--stage", "prod", "--stages", str(tmp_path), "--folder", str(tmp_path / "release")]
    monkeypatch.setattr("sys.argv", words)
    return tmp_path


def ends(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(stage: Stage, options: up.Options) -> None:
        raise error

    monkeypatch.setattr(up, "up", fail)


def test_a_table_that_does_not_answer_ends_in_one_line(
    typed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends(monkeypatch, Unavailable("DynamoDB does not answer"))

    assert command.main() == 1
    assert capsys.readouterr().err == "slipway: DynamoDB does not answer\n"


def test_an_interrupt_ends_in_one_line_and_130(
    typed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends(monkeypatch, KeyboardInterrupt())

    assert command.main() == 130
    assert capsys.readouterr().err.strip().startswith("slipway: interrupted")


def test_a_stage_file_of_wrong_types_ends_in_one_line(typed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (typed / "prod.toml").write_text(GOOD.replace('"123456789012"', "123456789012"))

    assert command.main() == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_sigterm_leaves_what_is_held_as_an_interrupt_does(
    typed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = []
    before = signal.getsignal(signal.SIGTERM)

    def killed(stage: Stage, options: up.Options) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            left.append(stage.name)

    monkeypatch.setattr(up, "up", killed)
    try:
        with pytest.raises(SystemExit) as ended:
            command.main()
    finally:
        signal.signal(signal.SIGTERM, before)

    assert (left, ended.value.code) == (["prod"], 143)
    assert capsys.readouterr().err == "slipway: told to stop\n"


class Terminal:
    """Somebody is there, and ends the input instead of answering."""

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return ""


def test_an_ended_input_is_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal())

    assert not command._agreed()
