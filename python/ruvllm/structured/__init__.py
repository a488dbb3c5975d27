"""Structured output: values in the shape of a schema, and the grammars that hold a model to it."""

from ruvllm.structured.json_mode import JsonAnswer, JsonModeConfig
from ruvllm.structured.repair import Mended, mended
from ruvllm.structured.schemas import Schema, Shape

__all__ = ["JsonAnswer", "JsonModeConfig", "Mended", "Schema", "Shape", "mended"]
