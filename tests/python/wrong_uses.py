"""Wrong uses of the package, one a line: mypy must refuse each, and nothing else, for what stands behind it.

Nothing runs this file; `test_typing.py` has mypy read it. Behind each line stand the code of the error and a
part of what is said.
"""

from ruvllm import (
    LLM,
    AsyncEngine,
    BatchInference,
    ChatSession,
    GenerateParams,
    Grammar,
    KvCacheConfig,
    Limits,
    MicroLoraConfig,
    ModelConfig,
    PrefixCache,
    RagPipeline,
    ToolDefinition,
    TrainingConfig,
    evaluate,
    quantize,
)

llm = LLM("m")
engine = AsyncEngine(llm)
session = ChatSession(llm)

# Loading
LLM("m", n_ctx=2048)  # call-arg: Unexpected keyword argument "n_ctx" for "LLM"
LLM(kv_format="q5")  # arg-type: Argument "kv_format" to "LLM" has incompatible type "Literal['q5']"
LLM(isa="sse9")  # arg-type: Argument "isa" to "LLM" has incompatible type "Literal['sse9']"
LLM(activations="int4")  # arg-type: Argument "activations" to "LLM" has incompatible type "Literal['int4']"
LLM(threads="two")  # arg-type: Argument "threads" to "LLM" has incompatible type "str"
LLM("m", ModelConfig())  # call-arg: Too many positional arguments for "LLM"
LLM("m", limits=16)  # arg-type: Argument "limits" to "LLM" has incompatible type "int"
AsyncEngine("m", kv_formt="int8")  # call-arg: Unexpected keyword argument "kv_formt"
AsyncEngine.open("m", thraeds=3)  # call-arg: Unexpected keyword argument "thraeds"
AsyncEngine.open("m", limits=3)  # arg-type: Argument "limits" to "open" of "AsyncEngine"
ModelConfig(kv_cache_config=256)  # arg-type: Argument "kv_cache_config" to "ModelConfig"
KvCacheConfig(tail_precision="fp16")  # arg-type: Argument "tail_precision" to "KvCacheConfig"
Limits(16)  # call-arg: Too many positional arguments for "Limits"

# Asking
llm.chat("a", max_token=3)  # call-overload: No overload variant of "chat"
llm.chat("a", temperature="cold")  # call-overload: No overload variant of "chat"
llm.generate("a", max_token=3)  # call-overload: No overload variant of "generate"
llm.generate(5)  # call-overload: No overload variant of "generate"
llm.stream("a", max_tokens=None)  # arg-type: Argument "max_tokens" to "stream"
llm.stream("a", tools=[])  # call-arg: Unexpected keyword argument "tools" for "stream"
llm.as_completed(["a"], stop=3)  # arg-type: Argument "stop" to "as_completed"
engine.stream("a", sead=3)  # call-arg: Unexpected keyword argument "sead" for "stream"
session.send("a", seed="x")  # arg-type: Argument "seed" to "send"
GenerateParams(max_tokens=1.5)  # arg-type: Argument "max_tokens" to "GenerateParams"
GenerateParams(stop=["a"])  # call-arg: Unexpected keyword argument "stop" for "GenerateParams"
GenerateParams(grammar="root ::= 'a'")  # arg-type: Argument "grammar" to "GenerateParams"
Grammar.choice(3)  # arg-type: Argument 1 to "choice" of "Grammar"
ToolDefinition("weather")  # call-arg: Too many positional arguments for "ToolDefinition"

# What comes back
llm.generate("a")[0]  # index: Value of type "Completion" is not indexable
print(llm.generate(["a"]).text)  # attr-defined: "list[Completion]" has no attribute "text"
llm.chat("a").logprobs[0]  # index: Value of type "tuple[TokenLogprob, ...] | None" is not indexable
llm.chat("a").text = "b"  # misc: Property "text" defined in "Completion" is read-only
print(engine.chat("a").text)  # attr-defined: "Coroutine[Any, Any, Completion]" has no attribute "text"
llm.tokenize(b"a")  # arg-type: Argument 1 to "tokenize" of "TextMethods" has incompatible type "bytes"

# The rest
BatchInference(llm, chatt=True)  # call-arg: Unexpected keyword argument "chatt" for "BatchInference"
RagPipeline(llm, 3)  # arg-type: Argument 2 to "RagPipeline"
PrefixCache(max_memory_bytes="1G", key="k")  # arg-type: Argument "max_memory_bytes" to "PrefixCache"
MicroLoraConfig(rank="2")  # arg-type: Argument "rank" to "MicroLoraConfig"
TrainingConfig(objective="rlhf")  # arg-type: Argument "objective" to "TrainingConfig"
evaluate(llm, 3)  # arg-type: Argument 2 to "evaluate"
quantize("m", "out.gguf", type="Q4_K_M")  # call-arg: Unexpected keyword argument "type" for "quantize"
