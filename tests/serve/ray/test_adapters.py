"""Adapters that are published to a worker that runs; without Ray."""

import logging
from pathlib import Path

import pytest

from ruvllm import LLM
from ruvllm.errors import RuvLLMError
from ruvllm.integrations.ray.published import PublishedAdapters
from tests.serve.adapters import FIRST, SECOND, folder


def test_what_cannot_be_had_leaves_what_was(
    tiny_chat_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with LLM(tiny_chat_path, max_context=256) as llm:
        published = PublishedAdapters(llm.adapters)
        published.take({"tone": folder(FIRST)})
        before = llm.adapters.info("tone").generation
        with caplog.at_level(logging.ERROR, "ray.serve"):
            published.take({"tone": folder(SECOND), "wrong": tmp_path})
        assert "those of before stay" in caplog.text
        assert [(one.name, one.generation) for one in llm.adapters.list()] == [("tone", before)]
        published.take({"tone": folder(SECOND)})
        assert llm.adapters.info("tone").generation != before
        published.take({})
        assert llm.adapters.list() == []


def test_a_worker_that_begins_says_what_is_wrong(tiny_chat_path: Path, tmp_path: Path) -> None:
    with LLM(tiny_chat_path, max_context=256) as llm, pytest.raises((RuvLLMError, OSError)):
        PublishedAdapters(llm.adapters).take({"wrong": tmp_path})


def test_what_is_had_is_not_read_again(tiny_chat_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LLM(tiny_chat_path, max_context=256) as llm:
        published = PublishedAdapters(llm.adapters)
        published.take({"tone": folder(FIRST)})
        kept = llm.adapters.list()
        monkeypatch.setattr("ruvllm.integrations.ray.published.read_adapter", None)
        published.take({"tone": folder(FIRST)})
        assert llm.adapters.list() == kept
