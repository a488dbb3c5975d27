"""Structured output: values in the shape of a schema, and the grammars that hold a model to it."""

from ruvllm.structured.schemas import Schema, Shape

__all__ = ["Schema", "Shape"]
