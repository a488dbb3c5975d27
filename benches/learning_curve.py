"""Whether it learns something useful: right answers along a stream of 200 requests with feedback from a rule.

    python -m benches.learning_curve [MODEL ...] [--seeds N] [--json FILE] [--picture FILE]

The requests and the rule are those of `learning_reviews`, all settings the defaults: SmolLM2 is asked for
verdicts, Gemma, which gives most of those as it should, for replies. It fails where the share of right
answers on held-out requests does not rise by 0.2 on the mean of the seeds, or where that of the control, the
same stream with the same feedback in an order of chance, rises by more than 0.05.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, pstdev

from benches import files
from benches.learning_picture import picture
from benches.learning_reviews import REPLY, VERDICT
from benches.learning_stream import EVERY, Curve, Pair, gain, run_pair
from ruvllm import LLM

QUESTIONS = {"smollm2-135m": VERDICT, "gemma-3-270m": REPLY}
# Others than those with which the questions were chosen, which were 0 to 5.
FIRST_SEED = 100
MARK, CONTROL_MARK = 0.2, 0.05


def report(model: str, pairs: Sequence[Pair]) -> bool:
    """Tell the figures of a model; whether they keep their marks."""
    print(f"{model}: {len(pairs)} seeds; share right of held-out requests, mean over seeds (spread)")
    of_seeds = {
        "rule": [pair.real for pair in pairs],
        "shuffled": [pair.shuffled for pair in pairs],
    }
    for name, curves in of_seeds.items():
        print(f"  {name:>8}: " + "  ".join(_figures(curves)))
        ends = " ".join(f"{curve.held_out[-1]:.2f}" for curve in curves)
        quarters = " ".join(f"{share:.2f}" for share in _quarters(curves))
        print(f"            ends {ends}; drawn answers of the stream, by quarters: {quarters}")
    learned, control = gain(of_seeds["rule"]), gain(of_seeds["shuffled"])
    print(f"  gain {learned:+.3f} (mark {MARK:+}), control {control:+.3f} (mark {CONTROL_MARK:+})")
    return learned >= MARK and control <= CONTROL_MARK


def _figures(curves: Sequence[Curve]) -> list[str]:
    columns = list(zip(*(curve.held_out for curve in curves), strict=True))
    return [
        f"{index * EVERY}: {fmean(column):.2f} ({pstdev(column):.2f})" for index, column in enumerate(columns)
    ]


def _quarters(curves: Sequence[Curve]) -> list[float]:
    quarter = len(curves[0].answered) // 4
    return [
        fmean(fmean(curve.answered[begin : begin + quarter]) for curve in curves)
        for begin in range(0, 4 * quarter, quarter)
    ]


def main() -> int:
    """Run it; 1 where a mark is not kept."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "models",
        nargs="*",
        default=list(QUESTIONS),
        help="others than these are asked for verdicts",
    )
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--picture", type=Path, help="draw them there, as SVG")
    arguments = parser.parse_args()
    found: dict[str, list[Pair]] = {}
    for model in arguments.models:
        question = QUESTIONS.get(model, VERDICT)
        with LLM(files.path_of(model), threads=arguments.threads, max_context=1024) as llm:
            seeds = range(FIRST_SEED, FIRST_SEED + arguments.seeds)
            found[model] = [run_pair(llm, question, seed) for seed in seeds]
    # Each is told, also after one that fails.
    kept = [report(model, pairs) for model, pairs in found.items()]
    if arguments.json is not None:
        figures = {model: [asdict(pair) for pair in pairs] for model, pairs in found.items()}
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if arguments.picture is not None:
        arguments.picture.write_text(picture(found), encoding="utf-8")
    return 0 if all(kept) else 1


if __name__ == "__main__":
    raise SystemExit(main())
