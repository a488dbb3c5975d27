"""What is printed for people."""

import pytest

from ruvllm.cli import terminal


def test_a_note_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.note("a server's \x1b[31mname\x07")
    assert "\x1b[31m" not in (said := capsys.readouterr().err)
    assert "\x07" not in said
