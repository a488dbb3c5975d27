"""In which orders the options of a question are shown.

A model prefers what stands first, or last. The mean over orders that do not depend on the given one does not
depend on it either.
"""

import itertools
import math
import random
from collections.abc import Sequence
from typing import Literal, TypeAlias

from ruvllm._checks import check_integer
from ruvllm.decisions.questions import Predicate, Question, Score
from ruvllm.errors import ConfigError

__all__ = ["Orders", "check_orders", "num_orders", "orders_of"]

Orders: TypeAlias = int | Literal["all"]
"""How many orders; 1 is the given one."""

MAX_ORDERS = 120


def check_orders(orders: object) -> Orders:
    """The number of orders, or `all`; `ConfigError` otherwise."""
    if orders == "all":
        return "all"
    if isinstance(orders, str):
        raise ConfigError(f'orders is {orders!r}; it must be "all" or an integer from 1 to {MAX_ORDERS}')
    return check_integer("orders", orders, 1, MAX_ORDERS)


def orders_of(question: Question, orders: Orders) -> list[tuple[int, ...]]:
    """The orders in which a question's labels are shown, as places in the question's own.

    Levels stand in rising or falling order, and no other; yes and no have two orders as well.

    >>> orders_of(Predicate("It is late."), "all")
    [(0, 1), (1, 0)]
    """
    count = len(question.labels)
    if orders == 1:
        return [tuple(range(count))]
    if isinstance(question, Predicate | Score):
        rising = tuple(range(count))
        return [rising, rising[::-1]]
    # By their texts, so that the orders are the same ones, however the question gives its options.
    first = sorted(range(count), key=question.labels.__getitem__)
    wanted = num_orders(question, orders)
    if wanted == math.factorial(count):
        return list(itertools.permutations(first))
    return _turned(first, wanted)


def num_orders(question: Question, orders: Orders) -> int:
    """How many orders these are; `ConfigError` where all of them are too many."""
    if orders == 1:
        return 1
    if isinstance(question, Predicate | Score):
        return 2
    count = len(question.labels)
    possible = math.factorial(count)
    if orders == "all":
        if possible > MAX_ORDERS:
            raise ConfigError(
                f'{count} options have more than {MAX_ORDERS} orders, which is what orders="all" takes; '
                "give a number"
            )
        return possible
    return min(orders, possible)


def _turned(first: Sequence[int], orders: int) -> list[tuple[int, ...]]:
    """So many different orders: in each as many of them every option stands once at each place."""
    draw = random.Random(len(first))  # noqa: S311 - the same orders each time
    found: dict[tuple[int, ...], None] = {}
    base = list(first)
    while len(found) < orders:
        for turn in range(len(base)):
            found.setdefault(tuple(base[turn:] + base[:turn]))
        draw.shuffle(base)
    return list(found)[:orders]
