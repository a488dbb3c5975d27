"""The program that tries a wheel ends where what it tries does not."""

from pathlib import Path

import pytest

from tests.support import installed_wheel


def test_a_server_that_says_nothing_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed_wheel, "SECONDS", 0.2)
    program = tmp_path / "venv" / "bin" / "ruvllm"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho loading >&2\nexec sleep 100\n")
    program.chmod(0o755)
    with (
        pytest.raises(SystemExit, match="named no address:\nloading"),
        installed_wheel.Installed(tmp_path).serving(),
    ):
        pass
