"""What one tenant can do to another, on a real model: who opens and drops, who does its worst, and shares.

    python -m benches.fairness [leavers|worst|shares ...] [--model MODEL] [--threads N] [--repeat N]

Everything is measured against the same without the others, in one run. Ends with 1 where a mark is missed.
"""

import argparse
import sys

from benches import files
from benches.fairness import leavers, shares, worst
from benches.fairness.server import serve
from ruvllm import LLM

PARTS = ("leavers", "worst", "shares")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[], help="all by default")
    parser.add_argument("--model", default="smollm2-Q4_1", help="as in benches.peers.compare, or a path")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    options = parser.parse_args()
    parts = options.parts or PARTS
    path = files.path_of(options.model)
    reached = True
    if "leavers" in parts or "shares" in parts:
        with LLM(path, threads=options.threads, max_context=8192) as llm:
            print(f"{llm.model_info.isa} with {llm.model_info.threads} threads")
            if "leavers" in parts:
                reached &= leavers.measure(llm, seconds=options.seconds, repeat=options.repeat)
            if "shares" in parts:
                reached &= shares.measure(llm, seconds=options.seconds)
    if "leavers" in parts or "worst" in parts:
        threads = [] if options.threads is None else ["--threads", str(options.threads)]
        with serve(path, "--max-context", "8192", *threads) as server:
            if "leavers" in parts:
                reached &= leavers.measure_server(server, repeat=options.repeat)
            if "worst" in parts:
                reached &= worst.measure(server, repeat=options.repeat)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
