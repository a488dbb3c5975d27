"""Requests, their schedule, and the threads that run them on an engine."""

from ruvllm.runtime.loop import EngineLoop
from ruvllm.runtime.plans import Decision, PlannedRow, Running, Shares, View, Waiting
from ruvllm.runtime.request import EvaluationTask, GenerationTask, Request, Sink
from ruvllm.runtime.scheduler import Scheduler
from ruvllm.runtime.streams import AsyncCompletionStream, CompletionStream

__all__ = [
    "AsyncCompletionStream",
    "CompletionStream",
    "Decision",
    "EngineLoop",
    "EvaluationTask",
    "GenerationTask",
    "PlannedRow",
    "Request",
    "Running",
    "Scheduler",
    "Shares",
    "Sink",
    "View",
    "Waiting",
]
