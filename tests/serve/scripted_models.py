"""Models that say what they are told to: files for the real engine, whose next token follows from the last.

Each token is a dimension of its own, attention and feed-forward networks are zero, and the head's row of a
token looks for the token before it. So after the prompt's last token the pieces of a script come, one a
token, and then the end. That takes no training, no mask and no luck, and what serves it is the real thing.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np

from ruvllm.text.builtin_templates import BUILTIN_TEMPLATES

BLOCK = 32
START, END = "<|im_start|>", "<|im_end|>"
CONTEXT = 8192


def byte_tokens() -> list[str]:
    """The 256 bytes as GPT-2's tokenizer spells them."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(byte) if byte in shown else chr(256 + hidden.index(byte)) for byte in range(256)]


def spelled(text: str) -> str:
    """A text as the vocabulary spells it."""
    return "".join(byte_tokens()[byte] for byte in text.encode())


def write_script(
    path: Path,
    pieces: Sequence[str],
    *,
    template: str = BUILTIN_TEMPLATES["chatml"],
    control: frozenset[str] = frozenset(),
    marks: Sequence[str] = (),
) -> Path:
    """A model that says these pieces, each a token, some of control, where a prompt ends with a line.

    `marks` are further tokens of control, which it never says.
    """
    assert len(set(pieces)) == len(pieces), "what follows a piece is told by the piece"
    letters = byte_tokens()
    assert all(len(piece) > 1 for piece in pieces)
    tokens = [*letters, START, END, *map(spelled, pieces)]
    kinds = [gguf.TokenType.NORMAL] * 256 + [gguf.TokenType.CONTROL] * 2
    kinds += [gguf.TokenType.CONTROL if piece in control else gguf.TokenType.USER_DEFINED for piece in pieces]
    # A token of the user's own is spelled in plain text.
    tokens[258:] = [*pieces, *marks]
    kinds += [gguf.TokenType.CONTROL] * len(marks)
    size = -(-len(tokens) // BLOCK) * BLOCK
    tokens += [f"<unused{index}>" for index in range(size - len(tokens))]
    kinds += [gguf.TokenType.UNUSED] * (size - len(kinds))
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(size)
    writer.add_feed_forward_length(BLOCK)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_key_length(BLOCK)
    writer.add_value_length(BLOCK)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(size)
    writer.add_rope_dimension_count(BLOCK)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(["Ġ Ġ"])
    writer.add_bos_token_id(256)
    writer.add_eos_token_id(257)
    writer.add_add_bos_token(False)
    writer.add_chat_template(template)
    head = np.zeros((size, size), np.float32)
    chain = [letters.index(spelled("\n")), *range(258, 258 + len(pieces)), 257]
    for before, following in itertools.pairwise(chain):
        head[following, before] = 1.0
    head[257] += 0.01  # what is not in the script ends
    shapes = {"attn_q": (BLOCK, size), "attn_k": (BLOCK, size), "attn_v": (BLOCK, size)}
    shapes |= {"attn_output": (size, BLOCK), "ffn_gate": (BLOCK, size), "ffn_up": (BLOCK, size)}
    shapes["ffn_down"] = (size, BLOCK)
    writer.add_tensor("token_embd.weight", np.eye(size, dtype=np.float32))
    for name, shape in shapes.items():
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros(shape, np.float32))
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(size, np.float32))
    writer.add_tensor("output.weight", head)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
