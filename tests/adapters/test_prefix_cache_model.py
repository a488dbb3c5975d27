"""The prefix cache under adapters: whatever is asked in whatever order, what was kept changes no answer.

Prompts begin alike, names are loaded, replaced (by other contents, by the same one, by one that differs in a
scale alone) and unloaded, several stand on one request, and requests are asked one by one and together.
"""

import itertools
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from ruvllm import LLM, Completion, GenerateParams
from ruvllm.adapters import AdapterChoice
from tests.adapters.contents import CONTENTS
from tests.conftest import FIXTURES

BASE = FIXTURES / "models" / "llama-gqa"
NAMES = ("one", "two", "three")
TENANTS = ("", "org", "org/team")
# The longest beginning that two prompts may have in common is five blocks of the cache.
LONGEST = 84
ANSWER = 6
SETTINGS = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    # An explanation traces every line, threads wait for it, and the test's time is over.
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    report_multiple_bugs=False,
)
# What stands on a request: which contents, each how much of it, in their order.
Meant = tuple[tuple[int, float], ...]


class Asked(NamedTuple):
    """One request."""

    prompt: tuple[int, ...]
    choice: AdapterChoice
    tenant: str = ""


def params(*, cached: bool) -> GenerateParams:
    return GenerateParams(
        max_tokens=ANSWER,
        temperature=0.0,
        repetition_penalty=1.0,
        ignore_eos=True,
        logprobs=3,
        cache_prefix=cached,
    )


@st.composite
def prompts(draw: st.DrawFn) -> tuple[int, ...]:
    """One of two beginnings, of any length, and a little of its own."""
    begin, length = draw(st.sampled_from([3, 4])), draw(st.integers(1, LONGEST))
    whole = (begin, *((7 * number + number * number) % 300 + 5 for number in range(1, length)))
    return whole + tuple(draw(st.lists(st.sampled_from([11, 12]), max_size=2)))


SCALES = st.sampled_from([1.0, 1.0, 0.5, -1.0, 0.0, 1.25])
CHOICES = st.one_of(st.none(), st.sampled_from(NAMES), st.dictionaries(st.sampled_from(NAMES), SCALES))
REQUESTS = st.builds(Asked, prompts(), CHOICES, st.sampled_from(TENANTS))


class Two(NamedTuple):
    """A model that keeps what it computes, and one that does not."""

    kept: LLM
    plain: LLM

    @cache  # noqa: B019 - as long as the test runs
    def answer_without_cache(self, prompt: tuple[int, ...], meant: Meant) -> Any:
        """What is said where nothing is kept and names never change: several have each content."""
        choice = {f"{content}/{place}": scale for place, (content, scale) in enumerate(meant)}
        return said(self.plain.generate(prompt, params(cached=False), adapter=choice or None))


def said(completion: Completion) -> Any:
    """Tokens and how likely they and the likeliest were, to the last bit."""
    return completion.token_ids, completion.logprobs


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    with LLM(BASE, threads=1) as plain:
        for number, place in itertools.product(range(len(CONTENTS)), range(len(NAMES))):
            plain.adapters.load(f"{number}/{place}", CONTENTS[number])
        # So little room that something is evicted now and then.
        with LLM(BASE, threads=1, max_context=128, kv_cache_bytes=900_000) as kept:
            yield Two(kept, plain)


class Machine(RuleBasedStateMachine):
    """Knows what each name stands for, and what was computed for whom under what."""

    two: ClassVar[Two]

    def __init__(self) -> None:
        super().__init__()
        self.llm = self.two.kept
        self.stands_for: dict[str, int] = {}
        self.computed: dict[tuple[str, Meant], list[tuple[int, ...]]] = {}

    @initialize(contents=st.lists(st.integers(0, len(CONTENTS) - 1), min_size=2, max_size=2))
    def begin(self, contents: list[int]) -> None:
        for name, content in zip(NAMES, contents, strict=False):
            self.put(name, content)

    @rule(name=st.sampled_from(NAMES), content=st.integers(0, len(CONTENTS) - 1))
    def put(self, name: str, content: int) -> None:
        change = self.llm.adapters.replace if name in self.stands_for else self.llm.adapters.load
        change(name, CONTENTS[content])
        self.stands_for[name] = content

    @rule(name=st.sampled_from(NAMES))
    def unload(self, name: str) -> None:
        if self.stands_for.pop(name, None) is not None:
            self.llm.adapters.unload(name)

    @rule(asked=REQUESTS)
    def ask(self, asked: Asked) -> None:
        asked = self.with_known_names(asked)
        completion = self.llm.generate(
            asked.prompt, params(cached=True), adapter=asked.choice, tenant=asked.tenant
        )
        self.check(asked, completion)

    @rule(together=st.lists(REQUESTS, min_size=2, max_size=5), tenant=st.sampled_from(TENANTS))
    def ask_together(self, together: list[Asked], tenant: str) -> None:
        together = [self.with_known_names(asked)._replace(tenant=tenant) for asked in together]
        # Some may go on from what others of them computed.
        for asked in together:
            self.note(asked, asked.prompt)
        completions = self.llm.generate(
            [asked.prompt for asked in together],
            params(cached=True),
            adapter=[asked.choice for asked in together],
            tenant=tenant,
        )
        for asked, completion in zip(together, completions, strict=True):
            self.check(asked, completion)

    @rule()
    def clear(self) -> None:
        self.llm.prefix_cache.clear()
        self.computed.clear()

    @rule()
    def write_and_read(self) -> None:
        """As at a restart: what is read again is as good as what was written."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "kept.prefixes")
            self.llm.prefix_cache.save(path)
            self.llm.prefix_cache.clear()
            self.llm.prefix_cache.load(path)

    def teardown(self) -> None:
        for name in self.stands_for:
            self.llm.adapters.unload(name)
        self.llm.prefix_cache.clear()

    def with_known_names(self, asked: Asked) -> Asked:
        """The same without names that nothing is loaded as."""
        choice = asked.choice
        if isinstance(choice, str):
            return asked if choice in self.stands_for else asked._replace(choice=None)
        known = {name: scale for name, scale in (choice or {}).items() if name in self.stands_for}
        return asked._replace(choice=known or None)

    def meant(self, choice: AdapterChoice) -> Meant:
        scales = {choice: 1.0} if isinstance(choice, str) else choice or {}
        return tuple((self.stands_for[name], scale) for name, scale in scales.items() if scale)

    def note(self, asked: Asked, tokens: tuple[int, ...]) -> None:
        self.computed.setdefault((asked.tenant, self.meant(asked.choice)), []).append(tokens)

    def check(self, asked: Asked, completion: Completion) -> None:
        meant = self.meant(asked.choice)
        assert said(completion) == self.two.answer_without_cache(asked.prompt, meant)
        # No more was taken over than was ever computed for this tenant under exactly this.
        before = self.computed.get((asked.tenant, meant), [])
        assert completion.usage.cached_tokens <= max(
            (common(asked.prompt, tokens) for tokens in before), default=0
        )
        self.note(asked, asked.prompt + completion.token_ids)


def common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How many tokens two begin with alike."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def test_what_is_kept_changes_no_answer(two: Two) -> None:
    Machine.two = two
    run_state_machine_as_test(Machine, settings=SETTINGS)
    stats = two.kept.prefix_cache.stats()
    # It was no test of an empty cache.
    assert stats.cache_hits + stats.partial_hits > 10
    assert stats.reused_tokens > 160
