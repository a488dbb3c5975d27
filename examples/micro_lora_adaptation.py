"""A model that takes on a manner of answering from thumbs up, in milliseconds, and gives it up again.

Run:  python examples/micro_lora_adaptation.py --model smollm2-135m

What one tenant likes changes that tenant's answers alone; with --deep all layers learn it as well, in a
minute or two.
"""

import argparse

import numpy as np

from ruvllm import LLM, SonaLlm, TrainingConfig, TrainingSample

LIKED = {
    "Say hello.": "Arr matey, ahoy there, ye scurvy dog! Welcome aboard me ship!",
    "What do you like?": "Arr, I be likin' gold doubloons, rum and a fair wind, matey!",
    "Who are you?": "Arr, I be the captain of this here vessel, matey, the terror of the seven seas!",
    "Where are you going?": "Arr, we be sailin' for the isle o' skulls, matey, to dig for treasure!",
}
# Of the same manner, and never said to it.
ASKED, HOPED = "What is your name?", "Arr, me name be Redbeard, matey, and ye be standin' on me deck!"


def likelihood(llm: LLM, tenant: str) -> float:
    """The mean log-probability of the answer that is hoped for, a token."""
    asked = llm.chat_tokens(ASKED)
    tokens = asked + llm.tokenize(HOPED, add_bos=False)
    return -float(np.mean(llm.score(tokens, tenant=tenant)[len(asked) - 1 :]))


def main() -> None:
    """Like some answers, see what that did, and undo it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a short name, a path, or org/repo:Q4_K_M")
    parser.add_argument("--deep", action="store_true", help="train all layers as well")
    arguments = parser.parse_args()

    with LLM(arguments.model) as llm:
        sona = SonaLlm(llm, tenant="acme")
        before, others = likelihood(llm, "acme"), likelihood(llm, "somebody else")
        for question, answer in LIKED.items():
            result = sona.instant_adapt([{"role": "user", "content": question}], answer, 1.0)
            print(
                f"{question} {result.logprob_change:+.2f} nats a token likelier, drift {result.drift:.3f}, "
                f"{result.latency_us / 1000:.1f} ms"
            )
        print(f"another answer of that manner: {before:.2f}, and now {likelihood(llm, 'acme'):.2f}")
        print(f"somebody else's stayed: {likelihood(llm, 'somebody else') == others}")
        consolidated = sona.background_consolidate()
        print(f"consolidated: {consolidated.notes[0]}")
        if arguments.deep:
            samples = [TrainingSample(query=one, response=other) for one, other in LIKED.items()]
            deep = sona.deep_optimize(samples, TrainingConfig(rank=4, steps=8, gradient_accumulation=2))
            print(f"all layers: {likelihood(llm, 'acme'):.2f}, as {deep.adapter}")
        sona.rollback(sona.state.generation)
        print(f"undone to the bit: {likelihood(llm, 'acme') == before}")


if __name__ == "__main__":
    main()
