"""What becomes of downloads between two looks, as events."""

from typing import Any

import pytest

from ruvllm.serve.errors import ApiError
from ruvllm.serve.model_states import States, changes, pull_state
from ruvllm.serve.pulling import Pull

NAME = "new"
HERE = {NAME: {"value": "unloaded"}}


def seen(pull: Pull, served: Any = None) -> States:
    return served or {}, {NAME: (pull, pull_state(pull))}


def events(before: States, now: States) -> list[str]:
    return [one["event"] for one in changes(before, now)]


def failed(state: Any) -> ApiError:
    return ApiError(502, f"it is {state}", code="download_failed")


@pytest.mark.parametrize(
    ("state", "served", "expected"),
    [
        ("finished", HERE, ["download_finished", "model_status"]),
        ("finished", {}, ["download_finished", "model_remove"]),
        ("stopped", {}, ["download_failed", "model_remove"]),
        ("stopped", HERE, ["download_failed", "model_status"]),
        ("failed", {}, ["download_failed", "model_remove"]),
    ],
)
def test_how_one_ended_is_told_by_itself(state: Any, served: Any, expected: list[str]) -> None:
    pull = Pull(NAME)
    before = seen(pull)
    pull.state, pull.error = state, None if state == "finished" else failed(state)
    assert events(before, (served, {})) == expected


def test_one_that_was_stopped_and_begun_anew_is_told_so() -> None:
    pull = Pull(NAME)
    before = seen(pull)
    pull.state, pull.error = "stopped", failed("stopped")
    assert events(before, seen(Pull(NAME))) == ["download_failed", "download_progress"]


def test_a_failed_one_is_told_once_and_removed_when_it_is_forgotten() -> None:
    pull = Pull(NAME)
    before = seen(pull)
    pull.state, pull.error = "failed", failed("failed")
    assert events(before, seen(pull)) == ["download_failed"]
    assert events(seen(pull), seen(pull)) == []
    assert events(seen(pull), ({}, {})) == ["model_remove"]
