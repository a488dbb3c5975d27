"""Loads on a server that answers as it is told: who is sent when, what is counted, what the figures say."""

import json
import math
import random
import statistics
import threading
from collections import Counter
from collections.abc import Callable

import pytest

from ruvllm.client.address import Address
from ruvllm.client.load import (
    ClosedLoop,
    Distribution,
    LoadRun,
    OpenLoop,
    Report,
    Target,
    WordSupply,
    Workload,
    arrival_seconds,
    read_service_levels,
    run_load,
)
from ruvllm.client.load.exchange import Outcome, OutcomeKind
from ruvllm.errors import ConfigError
from ruvllm.outputs import Usage
from tests.support.scripted_server import Reply, Request, ScriptedServer, answer_events, delta, event

pytest.importorskip("httptools")

FOUR_CLIENTS = ClosedLoop(4)
WORDS = WordSupply.measured(lambda text: None)
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
FIVE = answer_events(["a "] * 5, usage=USAGE, finish_reason="length")


def load(
    answer: Callable[[Request], Reply],
    workload: Workload,
    loop: ClosedLoop | OpenLoop = FOUR_CLIENTS,
    timeout_seconds: float = 20.0,
) -> tuple[LoadRun, ScriptedServer]:
    with ScriptedServer(answer) as server:
        target = Target(address=Address.of(server.url), timeout_seconds=timeout_seconds)
        run = run_load(target, workload.plan("one", WORDS), loop)
        server.wait_until_idle()
        return run, server


def kinds(run: LoadRun) -> Counter[OutcomeKind]:
    return Counter(outcome.kind for outcome in run.outcomes)


# -- what is asked


def costs(text: str) -> int:
    """A tokenizer: two tokens for longer words, one mark before each text."""
    return 1 + sum(2 if len(word) > 5 else 1 for word in text.split())


def test_prompts_have_the_wanted_length() -> None:
    calls: list[str] = []

    def count(text: str) -> int:
        calls.append(text)
        return costs(text)

    words = WordSupply.measured(count)
    assert words.is_counted
    for length in (1, 2, 3, 17, 256):
        text = words.text(length, random.Random(length))
        assert costs(text) == max(2, length)  # one word and the mark before it are the least
    assert len(calls) < 300


def test_words_of_one_token_are_found_with_few_questions() -> None:
    calls: list[str] = []

    def count(text: str) -> int:
        calls.append(text)
        return len(text.split())

    assert set(WordSupply.measured(count).tokens.values()) == {1}
    assert len(calls) < 20


def test_without_a_tokenizer_words_count() -> None:
    assert not WORDS.is_counted
    assert len(WORDS.text(50, random.Random(1)).split()) == 50


def test_a_plan_is_the_same_for_the_same_seed() -> None:
    workload = Workload(requests=20, prompt_tokens=30, shared_prefix_tokens=40, disconnect_ratio=0.5, seed=3)
    planned = workload.plan("one", WORDS)
    assert planned == workload.plan("one", WORDS)
    bodies = [json.loads(request.body) for request in planned]
    assert len({body["messages"][1]["content"] for body in bodies}) == 20  # no two alike
    [system] = {body["messages"][0]["content"] for body in bodies}
    assert (len(system.split()), bodies[0]["messages"][0]["role"]) == (40, "system")
    # Who hangs up, and how long answers are, changes no prompt.
    other = Workload(requests=20, prompt_tokens=30, shared_prefix_tokens=40, max_tokens=7, seed=3)
    assert [json.loads(one.body)["messages"] for one in other.plan("one", WORDS)] == [
        body["messages"] for body in bodies
    ]
    assert Workload(requests=20, seed=4).plan("one", WORDS) != Workload(requests=20).plan("one", WORDS)


def test_the_fields_of_a_request() -> None:
    workload = Workload(
        requests=1, max_tokens=9, ignore_eos=True, extra_body={"temperature": 0.5, "min_p": 1}
    )
    [request] = workload.plan("one", WORDS)
    body = json.loads(request.body)
    assert len(body.pop("messages")) == 1
    assert body == {
        "model": "one",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 9,
        "temperature": 0.5,
        "ignore_eos": True,
        "min_p": 1,
    }
    assert "ignore_eos" not in json.loads(Workload(requests=1).plan("one", WORDS)[0].body)


def test_who_hangs_up_is_drawn() -> None:
    planned = Workload(requests=4000, prompt_tokens=1, max_tokens=80, disconnect_ratio=0.25).plan(
        "one", WORDS
    )
    places = [request.hangs_up_after for request in planned if request.hangs_up_after is not None]
    deviation = math.sqrt(4000 * 0.25 * 0.75)
    assert abs(len(places) - 1000) < 4 * deviation
    assert set(places) == set(range(1, 11))
    assert all(request.hangs_up_after is None for request in Workload(requests=50).plan("one", WORDS))


@pytest.mark.parametrize(
    "field",
    [
        {"requests": 0},
        {"prompt_tokens": 0},
        {"shared_prefix_tokens": -1},
        {"max_tokens": 0},
        {"disconnect_ratio": 1.5},
        {"seed": -1},
    ],
)
def test_refused_workloads(field: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(field))):
        Workload(**field)  # type: ignore[arg-type]


# -- when it is sent


def test_arrivals_are_a_poisson_process() -> None:
    rate, count = 20.0, 20_000
    times = arrival_seconds(count, rate, seed=1)
    gaps = [later - earlier for earlier, later in zip([0.0, *times], times, strict=False)]
    assert min(gaps) >= 0
    # An exponential's mean and deviation are both 1 / rate; the bounds are 4 standard errors.
    assert statistics.fmean(gaps) == pytest.approx(1 / rate, rel=4 / math.sqrt(count))
    assert statistics.stdev(gaps) == pytest.approx(1 / rate, rel=4 * math.sqrt(2 / count))
    for quantile in (0.1, 0.5, 0.9):
        share = sum(gap < -math.log(1 - quantile) / rate for gap in gaps) / count
        assert abs(share - quantile) < 4 * math.sqrt(quantile * (1 - quantile) / count)
    # Counts in windows of a second have a variance equal to their mean.
    windows = list(Counter(int(time) for time in times).values())[:-1]
    assert statistics.variance(windows) == pytest.approx(rate, rel=0.2)
    assert times == arrival_seconds(count, rate, seed=1)
    assert times != arrival_seconds(count, rate, seed=2)


def test_all_at_once() -> None:
    assert arrival_seconds(3, math.inf, seed=0) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("rate", [0, -1, math.nan])
def test_refused_rates(rate: float) -> None:
    with pytest.raises(ConfigError, match="rate"):
        arrival_seconds(3, rate, seed=0)


@pytest.mark.parametrize("concurrency", [1, 3, 8])
def test_a_closed_loop_keeps_so_many_under_way(concurrency: int) -> None:
    reply = Reply.stream(answer_events(["a "] * 5, usage=USAGE, pause=0.004))
    run, server = load(lambda request: reply, Workload(requests=24), ClosedLoop(concurrency))
    assert kinds(run) == {OutcomeKind.OK: 24}
    assert server.most_open == concurrency
    assert server.connections == concurrency  # each is used again and again


def test_an_open_loop_keeps_its_times_whatever_comes_of_the_answers() -> None:
    times = arrival_seconds(30, 60.0, seed=5)
    reply = Reply.stream([0.3, *FIVE])
    run, server = load(lambda request: reply, Workload(requests=30), OpenLoop(times))
    assert kinds(run) == {OutcomeKind.OK: 30}
    seen = [arrival - server.arrivals[0] for arrival in server.arrivals]
    assert seen == pytest.approx([time - times[0] for time in times], abs=0.25)
    assert server.most_open > 8
    assert max(outcome.late_seconds for outcome in run.outcomes) < 0.25


def test_connections_that_the_server_closes() -> None:
    lock, count = threading.Lock(), 0

    def answer(request: Request) -> Reply:
        nonlocal count
        with lock:
            count += 1
        reply = Reply.stream(FIVE)
        return Reply(reply.pieces, headers={**reply.headers, "connection": "close"}) if count % 2 else reply

    run, server = load(answer, Workload(requests=12), ClosedLoop(1))
    assert kinds(run) == {OutcomeKind.OK: 12}
    assert server.connections == 7 or server.connections == 6


# -- what comes of it


def test_what_is_measured() -> None:
    reply = Reply.stream([0.1, *answer_events(["a "] * 5, usage=USAGE, pause=0.03)])
    run, _ = load(lambda request: reply, Workload(requests=4), ClosedLoop(2))
    for outcome in run.outcomes:
        assert outcome.usage == Usage(prompt_tokens=10, completion_tokens=5, cached_tokens=4)
        assert outcome.finish_reason == "stop"
        # A pause is never shorter than it should be; how much longer is the machine's company.
        assert 0.12 < outcome.first_token_seconds < 2
        assert len(outcome.gap_seconds) == 4
        assert 0.027 < statistics.fmean(outcome.gap_seconds) < 0.5
        total = outcome.first_token_seconds + sum(outcome.gap_seconds)
        assert outcome.total_seconds == pytest.approx(total)
        assert outcome.seconds_per_token == pytest.approx(sum(outcome.gap_seconds) / 4)
    assert 2 * 0.24 < run.wall_seconds < 5


def test_borders_and_pings_do_not_matter() -> None:
    whole = b": ping\n\n" + b"".join(piece for piece in FIVE if isinstance(piece, bytes))
    pieces = [whole[place : place + 5] for place in range(0, len(whole), 5)]
    run, _ = load(lambda request: Reply.stream(pieces), Workload(requests=2), ClosedLoop(1))
    assert kinds(run) == {OutcomeKind.OK: 2}
    assert all(len(outcome.gap_seconds) == 4 for outcome in run.outcomes)


def test_an_answer_of_no_text_has_its_end_for_a_first_token() -> None:
    run, _ = load(lambda request: Reply.stream(answer_events([])), Workload(requests=1))
    [outcome] = run.outcomes
    assert outcome.kind is OutcomeKind.OK
    assert outcome.first_token_seconds == outcome.total_seconds > 0
    assert (outcome.gap_seconds, outcome.usage) == ((), None)


def test_who_hangs_up_is_counted_here_and_there() -> None:
    reply = Reply.stream(answer_events(["a "] * 40, usage=USAGE, pause=0.001))
    workload = Workload(requests=30, max_tokens=20, disconnect_ratio=0.5, seed=1)
    run, server = load(lambda request: reply, workload)
    leavers = [request for request in workload.plan("one", WORDS) if request.hangs_up_after]
    assert 5 < len(leavers) < 25
    assert kinds(run) == {OutcomeKind.DISCONNECTED: len(leavers), OutcomeKind.OK: 30 - len(leavers)}
    assert server.hung_up == len(leavers)
    heard = sorted(
        len(outcome.gap_seconds) + 1 for outcome in run.outcomes if outcome.kind is OutcomeKind.DISCONNECTED
    )
    assert heard == sorted(request.hangs_up_after or 0 for request in leavers)


FAILURES = [
    (Reply.error(500, "broken"), OutcomeKind.FAILED, "HTTP status 500: broken"),
    (Reply.error(404, "no model"), OutcomeKind.FAILED, "HTTP status 404: no model"),
    (Reply.json({"error": {"message": "full"}}, 429, retry_after="1"), OutcomeKind.REFUSED, "full"),
    (Reply.json({"choices": []}), OutcomeKind.FAILED, "application/json instead of a stream"),
    (Reply.stream([delta("a"), event({"error": {"message": "gone"}})]), OutcomeKind.FAILED, "gone"),
    (Reply.stream([b"data: nonsense\n\n"]), OutcomeKind.FAILED, "no JSON"),
    (Reply.stream([delta("a")]), OutcomeKind.FAILED, "ended before the answer did"),
    (Reply.stream([delta("a")], breaks_off=True), OutcomeKind.FAILED, "closed the connection in the middle"),
    (Reply([b"\x00 no http"], headers={"bad header\x00": "x"}), OutcomeKind.FAILED, "no HTTP"),
]


@pytest.mark.parametrize(("reply", "kind", "reason"), FAILURES, ids=[case[2] for case in FAILURES])
def test_failures_have_reasons(reply: Reply, kind: OutcomeKind, reason: str) -> None:
    run, _ = load(lambda request: reply, Workload(requests=3), ClosedLoop(1))
    assert kinds(run) == {kind: 3}
    assert all(reason in (outcome.reason or "") for outcome in run.outcomes)


def test_a_body_that_ends_by_closing() -> None:
    reply = Reply.stream(FIVE, chunked=False, breaks_off=True)
    run, _ = load(lambda request: reply, Workload(requests=3), ClosedLoop(1))
    assert kinds(run) == {OutcomeKind.OK: 3}


def test_a_server_that_is_silent_or_gone() -> None:
    reply = Reply.stream([delta("a"), 30.0])
    run, server = load(lambda request: reply, Workload(requests=2), timeout_seconds=0.2)
    assert [outcome.reason for outcome in run.outcomes] == ["no end within 0.2 s"] * 2
    target = Target(address=Address.of(server.url))
    gone = run_load(target, Workload(requests=2).plan("one", WORDS), ClosedLoop(1))
    assert all("is it running" in (outcome.reason or "") for outcome in gone.outcomes)


def test_some_fail_and_some_do_not() -> None:
    replies = [Reply.stream(FIVE), Reply.error(500, "broken"), Reply.error(429, "full"), Reply.stream(FIVE)]
    lock, turn = threading.Lock(), iter(range(1000))

    def answer(request: Request) -> Reply:
        with lock:
            return replies[next(turn) % 4]

    report = Report.of(load(answer, Workload(requests=20))[0])
    assert {kind.value: count for kind, count in report.counts.items()} == {
        "ok": 10,
        "refused": 5,
        "failed": 5,
        "disconnected": 0,
    }
    assert report.failures == {"HTTP status 500: broken": 5}
    assert report.refusals == {"full": 5}
    assert (report.output_tokens, report.prompt_tokens, report.cached_prompt_tokens) == (50, 100, 40)


# -- figures


def outcome(*gaps: float, first: float = 0.1, tokens: int | None = None, **rest: object) -> Outcome:
    usage = None if tokens is None else Usage(prompt_tokens=7, completion_tokens=tokens)
    values = {"kind": OutcomeKind.OK, "usage": usage, "finish_reason": "length", **rest}
    total = first + sum(gaps)
    return Outcome(first_token_seconds=first, gap_seconds=gaps, total_seconds=total, **values)  # type: ignore[arg-type]


def test_percentiles() -> None:
    values = [random.Random(2).expovariate(1) for _ in range(997)]
    found = Distribution.of(values)
    assert found is not None
    # The standard library's inclusive method is the same interpolation, independently made.
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    assert (found.p50, found.p95, found.p99) == pytest.approx([1000 * cuts[index] for index in (49, 94, 98)])
    assert found.mean == pytest.approx(1000 * statistics.fmean(values))
    assert Distribution.of([]) is None
    assert Distribution.of([0.25]) == Distribution(250, 250, 250, 250)


def test_rates_and_latencies() -> None:
    run = LoadRun([outcome(0.1, 0.3, tokens=3), outcome(tokens=1, first=0.5)], wall_seconds=2.0)
    run.outcomes.append(outcome(9.0, kind=OutcomeKind.DISCONNECTED, first=9.0))
    run.outcomes.append(outcome(9.0, kind=OutcomeKind.FAILED, first=9.0, reason="why"))
    report = Report.of(run)
    assert (report.answered, report.requests_per_second) == (2, 1.0)
    assert (report.output_tokens_per_second, report.total_tokens_per_second) == (2.0, 9.0)
    means = {name: values.mean if values else None for name, values in report.latencies.items()}
    assert means == pytest.approx({"ttft": 300.0, "tpot": 200.0, "itl": 200.0, "e2el": 500.0})
    assert report.goodput is None
    assert report.short == 0


def test_nothing_is_made_up_where_the_server_does_not_count() -> None:
    report = Report.of(LoadRun([outcome(0.1, tokens=2), outcome(0.1)], wall_seconds=1.0))
    assert (report.uncounted, report.output_tokens_per_second, report.total_tokens_per_second) == (
        1,
        None,
        None,
    )
    assert report.requests_per_second == 2
    assert Report.of(LoadRun([outcome(0.1)], 1.0), {"tpot": 1000.0}).good == 0  # nobody can tell
    assert Report.of(LoadRun(), {"ttft": 1.0}).goodput == 0


def test_goodput() -> None:
    run = LoadRun([outcome(0.01, 0.05, tokens=3), outcome(0.2, tokens=2, first=0.05)], wall_seconds=4.0)
    assert Report.of(run, {"ttft": 60.0}).good == 1
    assert Report.of(run, {"itl": 30.1}).good == 1  # the mean of each request's gaps
    assert Report.of(run, {"itl": 29.9}).good == 0
    assert Report.of(run, {"ttft": 60.0, "tpot": 50.0}).good == 0
    assert Report.of(run, {"e2el": 250.1, "ttft": 100.0}).goodput == 0.5


def test_service_levels() -> None:
    assert read_service_levels(["ttft:500 itl:50", "e2el:1e3,tpot:2"]) == {
        "ttft": 500,
        "itl": 50,
        "e2el": 1000,
        "tpot": 2,
    }
    for wrong in ("ttft", "ttft:", "ttft:fast", "ttft:0", "ttft:-1", "ttft:nan", "latency:5"):
        with pytest.raises(ConfigError, match="goodput is"):
            read_service_levels([wrong])
