"""What a loaded model does with schemas. `LLM` has these methods."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ruvllm.errors import ConfigError, GenerationError
from ruvllm.grammar import Grammar
from ruvllm.params import TERMS_KEYWORDS, GenerateKeywords, GenerateParams, ParamsLike
from ruvllm.runtime.grammars import compiled
from ruvllm.structured.json_mode import JsonAnswer, JsonModeConfig, answer_of
from ruvllm.structured.schemas import Schema, Shape

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ruvllm.adapters.registry import AdapterChoice
    from ruvllm.runtime.generations import Asked, Generations
    from ruvllm.runtime.open_model import OpenModel
    from ruvllm.runtime.request import Terms

__all__ = ["StructuredMethods"]


class StructuredMethods:
    """Values in the shape of a schema."""

    _open: "OpenModel"

    if TYPE_CHECKING:

        @property
        def _generations(self) -> Generations: ...
        def _chosen(self, params: ParamsLike) -> ParamsLike: ...
        def _terms(self, tenant: str = "", priority: int = 0, adapter: AdapterChoice = None) -> Terms: ...

    def check_grammar(self, grammar: Grammar) -> None:
        """Compile a grammar and keep it for the requests with it; `GrammarError` if it cannot be honoured.

        The first grammar of a model makes its vocabulary ready, which takes from a tenth of a second to two.
        """
        compiled(self._open, grammar)

    def generate_json(
        self,
        prompt: "Asked",
        schema: "Schema | JsonModeConfig",
        params: ParamsLike = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice" = None,
        **keywords: "Unpack[GenerateKeywords]",
    ) -> Any:
        """Continue a prompt, or answer a conversation, with JSON of a schema; gives the value.

            llm.generate_json([{"role": "user", "content": "How old is Ann, who is ten?"}], int)

        `GenerationError` where the answer is cut off before it is whole; `GrammarError` for a schema that
        cannot be honoured.

        Args:
            prompt: A text, token ids, or messages.
            schema: A JSON schema, a Pydantic model or any type that Pydantic knows; of these the value is an
                instance. Or a `JsonModeConfig`, which also says what is done with an answer that is no JSON.
            params: How; the defaults are `GenerateParams()`.
            tenant: On whose account.
            priority: Higher ones go first.
            adapter: The name of a loaded adapter.
            **keywords: As for `generate`.
        """
        config = schema if isinstance(schema, JsonModeConfig) else JsonModeConfig(schema=schema)
        params = GenerateParams.of(self._chosen(params), keywords, beside=(*TERMS_KEYWORDS, "schema"))
        return self.answer_json(
            prompt, config, params, tenant=tenant, priority=priority, adapter=adapter
        ).value

    def answer_json(
        self,
        prompt: "Asked",
        config: JsonModeConfig,
        params: ParamsLike = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice" = None,
        **keywords: "Unpack[GenerateKeywords]",
    ) -> JsonAnswer:
        """Do the same as `generate_json`; gives the value with the answer behind it, and what was mended.

        llm.answer_json("Ann, as JSON: ", JsonModeConfig(repair=True, constrained_decoding=False)).repairs
        """
        if not isinstance(config, JsonModeConfig):
            raise ConfigError(f"config is a {type(config).__name__}; it must be a JsonModeConfig")
        params = GenerateParams.of(self._chosen(params), keywords, beside=(*TERMS_KEYWORDS, "config"))
        params.check_one_answer("a value")
        if params.grammar is not None:
            raise ConfigError(
                "params.grammar is set, and generate_json makes one of the schema: leave it out"
            )
        shape = config.shape
        check = self._check_of(config, shape)
        if config.constrained_decoding:
            params = replace(params, grammar=shape.grammar)
        task = self._generations.task(prompt, params, self._terms(tenant, priority, adapter))
        return answer_of(self._generations.begin(task).completion(), config, shape, check)

    def _check_of(self, config: JsonModeConfig, shape: Shape) -> Callable[[str, Any], None]:
        """What an answer must pass that no mask has held to its end; made before anything is computed."""
        if not config.strict or (config.constrained_decoding and not config.repair):
            return lambda text, value: None
        if config.grammar is None:
            check = shape.checker()
            return lambda text, value: check(value)
        allowed = compiled(self._open, shape.grammar)

        def check_grammar(text: str, value: Any) -> None:
            if not allowed.accepts(text):
                raise GenerationError(f"the answer is JSON, but none that the grammar allows: {text[:80]!r}")

        return check_grammar
