"""A build whose extension has no kernel packs: everything else works, and they say what is missing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ruvllm import LLM, BackendError, _native
from ruvllm.cli import terminal
from ruvllm.cli.app import whole_app
from ruvllm.packs import KernelManager, KernelPack, KernelRuntime, make_key, reference_pack, sign_pack
from tests.conftest import FIXTURES

pytestmark = pytest.mark.usefixtures("home")
TINY = FIXTURES / "gguf" / "llama-gqa.gguf"
# What the feature `packs` of rust/py adds to the extension.
PACKS = ("KernelPacks", "PackKernel", "PackSummary", "public_key", "sign_manifest")
MESSAGE = "built without the feature 'packs'"


@pytest.fixture
def without_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PACKS:
        monkeypatch.delattr(_native, name)


@pytest.mark.usefixtures("without_packs")
@pytest.mark.parametrize(
    "use",
    [
        KernelManager,
        KernelRuntime,
        lambda: KernelPack.verify(reference_pack()),
        lambda: make_key("never-written.key"),
        lambda: sign_pack(reference_pack(), "never-read.key"),
    ],
    ids=["manager", "runtime", "verify", "make_key", "sign"],
)
def test_every_way_in_says_what_is_missing(use: Callable[[], object]) -> None:
    with pytest.raises(BackendError, match=MESSAGE):
        use()
    assert not Path("never-written.key").exists()


@pytest.mark.usefixtures("without_packs")
def test_a_model_with_a_pack_says_so_and_without_one_loads() -> None:
    with pytest.raises(BackendError, match=MESSAGE):
        LLM(TINY, max_context=64, kernel_pack="reference")
    with LLM(TINY, max_context=64) as llm:
        assert llm.kernel_packs is None


@pytest.mark.usefixtures("without_packs")
def test_the_command_says_so() -> None:
    terminal._console.cache_clear()
    result = CliRunner().invoke(whole_app(), ["packs", "verify", "reference"], prog_name="ruvllm")
    assert result.exit_code != 0
    assert "no kernel packs" in result.stderr
