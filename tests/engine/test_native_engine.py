"""The border between the package's values and the engine's: nothing passes that is not known."""

from typing import get_args

import pytest

from ruvllm import BackendError, _native
from ruvllm.runtime import native_engine


def test_every_event_of_the_engine_is_known() -> None:
    assert set(native_engine._TRANSLATIONS) == set(get_args(_native.Event))


@pytest.mark.parametrize("name", ["TokenEvent", "FailedEvent", "LaterEvent"])
def test_another_class_is_none_whatever_it_is_called(name: str) -> None:
    """It would pass for an error of the request, or for a token with whatever it has."""
    stranger = type(name, (), {"sequence": 1, "error": ValueError("not this"), "token": 3, "text": "x"})
    with pytest.raises(BackendError, match="means nothing here"):
        native_engine.translated(stranger())
