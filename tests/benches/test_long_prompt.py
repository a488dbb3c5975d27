"""The bench of long prompts runs, counts only while the prompt comes in, and says what was missed."""

from pathlib import Path

import pytest

from benches.long_prompt import LongPrompt, measure, report
from ruvllm import LLM


@pytest.mark.real_model
def test_it_measures(smollm2_path: Path) -> None:
    with LLM(smollm2_path, max_context=2048) as llm:
        run = measure(llm, 1500, seed=1)
    assert run.gaps
    assert sum(run.gaps) <= 2 * 1500 / run.beside
    assert run.alone > 0


@pytest.mark.parametrize(
    ("gap", "beside", "said"),
    [
        (0.25, 97.0, ["reached", "reached"]),
        (0.31, 97.0, ["MISSED", "reached"]),
        (0.25, 94.0, ["reached", "MISSED"]),
    ],
)
def test_it_says_which_marks_are_reached(
    gap: float, beside: float, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = LongPrompt(gaps=(gap,) * 40, alone=100.0, beside=beside)
    assert report([run]) is (said == ["reached", "reached"])
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == said
