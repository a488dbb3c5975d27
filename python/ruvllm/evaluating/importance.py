"""`measure_importance`: what goes into a model's matrices over a text, for the quantizer."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ruvllm.engine_settings import EngineKeywords
from ruvllm.evaluating.evaluation import AnyModel, opened, refuse_unused
from ruvllm.evaluating.text_scores import Chunks, EvaluationParams
from ruvllm.importance import ImportanceMatrix

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["measure_importance"]


def measure_importance(
    model: AnyModel,
    text: str | list[int],
    *,
    name: str = "",
    params: EvaluationParams | None = None,
    progress: Callable[[int, int], None] | None = None,
    **settings: "Unpack[EngineKeywords]",
) -> ImportanceMatrix:
    """Read a text and add up the squares of what goes into each column of the layers' matrices.

        ruvllm.measure_importance("SmolLM2-F16.gguf", text).save("imatrix.gguf")
        ruvllm.quantize("SmolLM2-F16.gguf", "small.gguf", "Q3_K_M", importance="imatrix.gguf")

    Chunks are cut as `evaluate` does it, and every token of them counts. The model is best the one in 16 or
    32 bits that is to be quantized.

    Args:
        model: A name or path as for `LLM`, or one that is loaded.
        text: What it reads; or tokens, which are taken as they are.
        name: What the text is called, which the file says.
        params: How the text is read; the defaults are `EvaluationParams()`.
        progress: Called with the tokens done and in all.
        **settings: As for `LLM`; none where the model is loaded.
    """
    refuse_unused(settings, model)
    params = params or EvaluationParams()
    with opened(model, settings) as llm:
        chunks = Chunks.of(llm, text, params)
        sums = llm.input_squares(chunks.token_ids.ravel().tolist(), params.context, progress)
    return ImportanceMatrix(
        sums=sums,
        counts=dict.fromkeys(sums, float(chunks.token_ids.size)),
        datasets=(name,) if name else (),
        chunk_count=len(chunks.token_ids),
        chunk_size=params.context,
    )
