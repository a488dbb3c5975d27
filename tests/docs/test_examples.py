"""Every example runs as a program, with a real model."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
# What each one must have said at temperature 0, as patterns.
EXPECTED = {
    # Merged it is an adapter like others; replaced it is the first, and what ran kept what it had.
    "adapters.py": r"rank 8, .+\n\[licence\] (.+)\n.+\n\[calm\] (.+)\n\[as it was\] \2\n\[replaced\] \1\n",
    "basic_inference.py": r"M parameters, Q4_1, .+\n.*Paris.*\n\d+ \+ \d+ tokens in ",
    "decisions.py": r"one order\. -> \S.* \(0\.\d\d\)\n  \d\.\d\d sure, \d+ tokens\n",
    # What it was taught of others it says of one that it was not taught.
    "fine_tuning.py": r"before: .+\nloss .+\nafter: .*Ahoy! .+ be the capital of Portugal, matey\.",
    # How an answer looks is shown by the bank alone.
    "reasoning_bank.py": r"-> thumb=.*\n9 trajectories, .*\nwithout: (?!thumb=).*\nwith: thumb=down\n",
    # A correction makes its text likelier and marks down what was said, and can be undone.
    "learning_server.py": r"before: (.+)\ngeneration 1: \+.*: -0.+after: (?!\1).+\n3 updates.+undone: \1\n",
    "micro_lora_adaptation.py": r"likelier.+stayed: True\nconsolidated: kept: .+\nundone to the bit: True\n",
    "speculation.py": r"came true\nthe same without: True\n.+ 0 guessed.+\nthe same foretold: True\n",
    "streaming.py": r"\S.*\n\[(length|stop), \d+ tokens\]\nThe sun is .+\nThe sea is ",
    "structured_output.py": r"city='[A-Z][a-z]+', platform=\d+\)\n(morning|evening)\nrefused at /items/not\n",
    "tools_agent.py": r"> How many letters .*\n  (count_letters|turn_around)\(\{.*\}\) -> \S.*\n.*\S",
    # The urgent come before those that came before them, and what is let go of makes room.
    "async_requests.py": r"ends: ((patient )?urgent ){2}(patient ?)+\nnext: 24 tokens and 0 are left\n",
    "batch.py": r"(?=.*\[0\] France: Paris )(?=.*\[2\] ContextLengthError: )(?=.* Athens \(\d\d )",
    "documents.py": r"closed\? .*Sunday.*\n  from: The library .*\n.* second floor.*\n  from: Maps are",
    "kernel_pack.py": r"Sun are Mercury, .*\nruvllm-.*: \d{3,} calls, 0 fell back\nthe same text: True\n",
    # The second and the third question find what they share with the first.
    "ray_cluster.py": r"of \d\d tokens were known\n([34]\d of \d\d tokens were known\n){2}",
    "mounted_server.py": r"^The capital of France is Paris\.\n",
    # Known within a program, and in the next one.
    "prefix_cache.py": r"^0 of 3\d\d .*\n3\d\d of 3\d\d .*\nkept: \d.*\n3\d\d of 3\d\d tokens were known",
    "chat_multi_turn.py": r"> What is the capital of France\?\n.*Paris.*\n> And of Italy\?\n.*Rome",
}


def test_every_example_is_listed() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(EXPECTED)


# Ray starts six processes, and its own code is warned of by what it stands on.
SLOW_TO_START = {"ray_cluster.py"}


@pytest.mark.real_model
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(one, marks=pytest.mark.timeout(240) if one in SLOW_TO_START else ())
        for one in sorted(EXPECTED)
    ],
)
def test_example(name: str, smollm2_path: Path, tmp_path: Path) -> None:
    if name == "ray_cluster.py" and importlib.util.find_spec("ray") is None:
        pytest.skip("ray has no wheel for this machine, or is not installed: pip install 'ruvllm[ray]'")
    warnings = "default" if name in SLOW_TO_START else "error"
    command = [sys.executable, "-W", warnings, str(EXAMPLES / name), "--model", str(smollm2_path)]
    seconds = 220 if name in SLOW_TO_START else 55
    # In a folder of its own, for some leave what they made where they run.
    result = subprocess.run(
        command, capture_output=True, encoding="utf-8", timeout=seconds, check=False, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert re.search(EXPECTED[name], result.stdout, re.S), result.stdout
