"""What `pip install ruvllm` alone brings works without the rest, and what needs more says what to install."""

import re
import subprocess
import sys

import pytest

from tests.architecture import sources

# What the extras of pyproject.toml bring, as modules. Not pydantic: typer may bring it anyway.
SERVE = ["fastapi", "httptools", "prometheus_client", "uvicorn"]
OTHERS = ["uvloop", "cryptography", "ziglang"]


def without(modules: list[str], code: str) -> subprocess.CompletedProcess[str]:
    """A program in an interpreter that cannot import these."""
    program = f"import sys; sys.modules.update(dict.fromkeys({modules!r}))\n{code}"
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=55, check=False)


def ruvllm(*arguments: str) -> str:
    return f"sys.argv = {['ruvllm', *arguments]!r}\nfrom ruvllm.cli.main import main\nmain()"


@pytest.mark.parametrize("missing", SERVE)
def test_serve_names_what_to_install(missing: str) -> None:
    done = without([missing], ruvllm("serve"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'ruvllm[serve]'" in done.stderr
    assert missing in done.stderr
    assert "Traceback" not in done.stderr


def test_the_rest_needs_no_extra() -> None:
    code = "import ruvllm\nfor name in ruvllm.__all__: getattr(ruvllm, name)\n" + ruvllm("doctor")
    done = without(SERVE + OTHERS, code)
    assert done.returncode == 0, done.stderr
    assert "ruvllm" in done.stdout


@pytest.mark.parametrize("name", ["README.md", "docs/server.md"])
def test_who_follows_a_page_can_serve(name: str) -> None:
    """Before its first `ruvllm serve` a page says what that needs."""
    page = (sources.ROOT / name).read_text(encoding="utf-8")
    commands = re.findall(r"^    (pip install .*?|ruvllm serve)(?: |$)", page, re.M)
    before = commands[: commands.index("ruvllm serve")]
    assert any(command.endswith("'ruvllm[serve]'") for command in before), commands
