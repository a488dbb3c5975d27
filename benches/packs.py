"""What the reference kernel pack costs: decoding with it and without, in turn, on real models.

python -m benches.packs [--repeat N] [MODEL...]
"""

import argparse
from statistics import median

from ruvllm import LLM, GenerateParams

MOST_COST = 0.15
PARAMS = GenerateParams(
    max_tokens=128,
    temperature=0,
    repetition_penalty=1,
    top_p=1,
    ignore_eos=True,
    speculate=False,
    cache_prefix=False,
)


def compare(model: str, repeat: int) -> None:
    """Print one model's line."""
    with (
        LLM(model, max_context=1024) as native,
        LLM(model, max_context=1024, kernel_pack="reference") as packed,
    ):
        pairs, same = [], True
        for _ in range(repeat):
            one, other = (llm.generate("Once upon a time", PARAMS) for llm in (native, packed))
            same = same and one.token_ids == other.token_ids
            pairs.append((one.timings.decode_tokens_per_second, other.timings.decode_tokens_per_second))
        stats = packed.stats().kernel_pack
    cost = 1 - median(other / one for one, other in pairs)
    print(f"{model}, medians of {repeat} pairs")
    print(f"  native {median(one for one, _ in pairs):7.0f} t/s")
    print(f"  pack   {median(other for _, other in pairs):7.0f} t/s")
    verdict = "reached" if cost <= MOST_COST else "MISSED"
    print(f"  costs {cost:.1%}   <= {MOST_COST:.0%}   {verdict}")
    print(
        f"  {'the same tokens' if same else 'OTHER TOKENS'}, calls {stats.calls}, fallbacks {stats.fallbacks}"
    )


def main() -> None:
    """Compare each model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", default=["smollm2-135m", "gemma-3-270m"])
    parser.add_argument("--repeat", type=int, default=8)
    arguments = parser.parse_args()
    for model in arguments.models:
        compare(model, arguments.repeat)


if __name__ == "__main__":
    main()
