"""What is printed for people."""

import pytest

from ruvllm.cli import terminal


def test_a_note_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.note("a server's \x1b[31mname\x07")
    assert "\x1b[31m" not in (said := capsys.readouterr().err)
    assert "\x07" not in said


def test_a_text_is_not_turned_round() -> None:
    """Overrides of the direction show a text that is not there: code as a comment, a comment as code."""
    turning = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    assert terminal.visible(f"a{turning}b\u200fשם\tc\n") == "ab\u200fשם\tc\n"
    assert terminal.visible("a\ud800b") == "a\ufffdb"
