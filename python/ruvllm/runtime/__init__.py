"""Requests, their schedule, and the threads that run them on an engine."""

from ruvllm.runtime.loop import EngineLoop
from ruvllm.runtime.request import EvaluationTask, GenerationTask, Request, Sink
from ruvllm.runtime.scheduler import Limits, Plan, PlannedRow, Running, Scheduler, View, Waiting
from ruvllm.runtime.streams import AsyncCompletionStream, CompletionStream

__all__ = [
    "AsyncCompletionStream",
    "CompletionStream",
    "EngineLoop",
    "EvaluationTask",
    "GenerationTask",
    "Limits",
    "Plan",
    "PlannedRow",
    "Request",
    "Running",
    "Scheduler",
    "Sink",
    "View",
    "Waiting",
]
