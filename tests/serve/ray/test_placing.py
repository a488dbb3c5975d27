"""Which worker a request goes to; pure, without Ray."""

import json

import pytest

from ruvllm.integrations.ray.call import BLOCK_BYTES, Keys, keys_of
from ruvllm.integrations.ray.placing import Placing

IDLE = {"one": 0, "two": 0, "three": 0}
LONG = "a prompt that is long enough to be known again, since it has several blocks of letters " * 3


def body(content: str, **more: object) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": content}], **more}).encode()


def keys(content: str, tenant: str = "a", **more: object) -> Keys:
    return keys_of(body(content, **more), {}, tenant=tenant, learns=False)


def shared(one: Keys, other: Keys) -> int:
    return sum(a == b for a, b in zip(one.blocks, other.blocks, strict=False))


def test_prompts_share_the_blocks_of_their_common_beginning() -> None:
    question, other = keys(LONG + "who?"), keys(LONG + "where?")
    assert shared(question, other) >= len(LONG) // BLOCK_BYTES
    assert shared(question, keys("x" + LONG)) == 0
    # What stands behind the prompt is another request of the same.
    assert shared(question, keys(LONG + "who?", temperature=0, stream=True)) >= len(LONG) // BLOCK_BYTES


@pytest.mark.parametrize("different", [{"tenant": "b"}, {"model": "tone"}])
def test_tenants_and_adapters_share_none(different: dict[str, str]) -> None:
    assert shared(keys(LONG), keys(LONG, **different)) == 0


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b'{"messages":', b'{"prompt": 3}', b"[" * 10_000])
def test_whatever_a_body_is_it_goes_somewhere(text: bytes) -> None:
    placing = Placing(balance=2)
    asked = keys_of(text, {}, tenant="", learns=False)
    placing.took(asked, "one")
    assert set(placing.order(asked, IDLE)) == set(IDLE)
    assert placing.order(asked, {}) == []


def test_a_prompt_goes_where_the_longest_beginning_of_it_is() -> None:
    placing = Placing(balance=2)
    placing.took(keys(LONG + "x" * 200), "one")
    placing.took(keys(LONG + "y" * 200), "two")
    assert placing.order(keys(LONG + "x" * 200 + " and?"), IDLE)[0] == "one"
    assert placing.order(keys(LONG + "y" * 200 + " and?"), IDLE)[0] == "two"
    # What both have is where it was last.
    assert placing.order(keys(LONG + "z" * 200), IDLE)[0] == "two"


def test_another_is_asked_where_that_one_is_busier_or_gone() -> None:
    placing = Placing(balance=2)
    placing.took(keys(LONG), "one")
    assert placing.order(keys(LONG), {"one": 2, "two": 0})[0] == "one"
    assert placing.order(keys(LONG), {"one": 3, "two": 0}) == ["two", "one"]
    assert placing.order(keys(LONG), {"two": 9, "three": 8})[0] == "three"


def test_only_so_much_is_remembered() -> None:
    placing = Placing(balance=2, max_known=8)
    for number in range(100):
        placing.took(keys(f"{number} {LONG}"), "one")
    assert len(placing._known) == 8


def test_sessions_and_tenants_that_teach_stay_together() -> None:
    session = keys_of(body(LONG), {"x-session-id": "s"}, tenant="a", learns=False)
    teaching = keys_of(body(LONG), {"x-session-id": "s"}, tenant="a", learns=True)
    assert session.pin != teaching.pin != ""
    [home] = Placing(balance=2).order(teaching, IDLE)
    # However busy it is, and whoever decides.
    assert Placing(balance=0).order(teaching, {**IDLE, home: 99}) == [home]
    home, *others = Placing(balance=2).order(session, IDLE)
    assert {home, *others} == set(IDLE)
    # A session goes on where its home is full; always in the same order, so that it is found there again.
    assert Placing(balance=0).order(session, {**IDLE, home: 99, others[0]: 9}) == [home, *others]


def test_a_worker_that_comes_takes_its_share_and_no_more() -> None:
    placing = Placing(balance=2)
    pins = [Keys(f"tenant {number}", is_bound=True) for number in range(300)]
    before = [placing.order(pin, IDLE) for pin in pins]
    after = [placing.order(pin, {**IDLE, "four": 0}) for pin in pins]
    moved = [now for was, now in zip(before, after, strict=True) if was != now]
    assert {tuple(now) for now in moved} == {("four",)}
    assert 40 < len(moved) < 120
