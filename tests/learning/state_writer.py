"""A process that saves a tenant's states until it is killed, and says which are saved.

    python state_writer.py FOLDER

Prints the generation after each save; all numbers of a state follow from its generation.
"""

import sys

import numpy as np

from ruvllm.learning.state import TenantStates
from ruvllm.learning.tenant_state import TenantState

MODEL = "a" * 32
SHAPE = (2, 576)


def state_of(generation: int, tenant: str = "ada") -> TenantState:
    """A state of which every number tells its generation."""
    matrices = [np.full(SHAPE, generation + place, np.float32) for place in range(6)]
    a, b, fisher_a, fisher_b, anchor_a, anchor_b = matrices
    return TenantState(
        tenant=tenant,
        generation=generation,
        a=a,
        b=b,
        scale=0.1,
        fisher_a=fisher_a,
        fisher_b=fisher_b,
        anchor_a=anchor_a,
        anchor_b=anchor_b,
        baseline=0.5 + 1e-9 * generation,
        feedback=generation + 3,
        updates=generation,
    )


def main(folder: str) -> None:
    """Until it is killed."""
    states = TenantStates(folder, model=MODEL, max_generations=4)
    found = states.load("ada")
    generation = 0 if found is None else found.generation
    while True:
        generation += 1
        states.save(state_of(generation))
        print(generation, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
