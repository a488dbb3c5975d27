"""What a loaded model does with schemas. `LLM` has these methods."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ruvllm.errors import ConfigError, GenerationError
from ruvllm.grammar import Grammar
from ruvllm.params import GenerateParams
from ruvllm.runtime.grammars import compiled
from ruvllm.structured.schemas import Schema, Shape

if TYPE_CHECKING:
    from ruvllm.adapters.registry import AdapterChoice
    from ruvllm.runtime.generations import Asked, Generations
    from ruvllm.runtime.opening import OpenModel
    from ruvllm.runtime.request import Terms

__all__ = ["StructuredMethods"]


class StructuredMethods:
    """Values in the shape of a schema."""

    _open: "OpenModel"

    if TYPE_CHECKING:

        @property
        def _generations(self) -> Generations: ...
        def _terms(self, tenant: str = "", priority: int = 0, adapter: AdapterChoice = None) -> Terms: ...

    def check_grammar(self, grammar: Grammar) -> None:
        """Compile a grammar and keep it for the requests with it; `GrammarError` if it cannot be honoured.

        The first grammar of a model makes its vocabulary ready, which takes from a tenth of a second to two.
        """
        compiled(self._open, grammar)

    def generate_json(
        self,
        prompt: "Asked",
        schema: Schema,
        params: GenerateParams | None = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice" = None,
    ) -> Any:
        """Continue a prompt, or answer a conversation, with JSON of a schema; gives the value.

            llm.generate_json([{"role": "user", "content": "How old is Ann, who is ten?"}], int)

        `GenerationError` where the answer is cut off before it is whole; `GrammarError` for a schema that
        cannot be honoured.

        Args:
            prompt: A text, token ids, or messages.
            schema: A JSON schema, a Pydantic model or any type that Pydantic knows; of these the value is an
                instance.
            params: How; the defaults are `GenerateParams()`.
            tenant: On whose account.
            priority: Higher ones go first.
            adapter: The name of a loaded adapter.
        """
        params = GenerateParams() if params is None else params
        if params.grammar is not None:
            raise ConfigError(
                "params.grammar is set, and generate_json makes one of the schema: leave it out"
            )
        shape = Shape.of(schema)
        params = replace(params, grammar=shape.grammar)
        task = self._generations.task(prompt, params, self._terms(tenant, priority, adapter))
        completion = self._generations.begin(task).completion()
        if completion.finish_reason != "stop":
            raise GenerationError(
                f"the answer ended after {len(completion.token_ids)} tokens and is not whole: "
                f"{completion.finish_reason}; raise max_tokens, or bound texts and lists in the schema"
            )
        return shape.value(completion.text)
