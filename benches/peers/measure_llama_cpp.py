"""llama.cpp's side of compare.py and sizes.py: reads requests, answers seconds. Needs `llama_cpp` alone.

Run:  python measure_llama_cpp.py MODEL.gguf THREADS [--context TOKENS]
"""

import argparse
import ctypes
import json
import os
import sys
import time
from typing import Any

BATCH = 512
CONTEXT = 2048


class Model:
    """A context over one file, with llama.cpp's own defaults: f16 keys and values, batches of 512."""

    def __init__(self, path: str, threads: int, context: int) -> None:
        import llama_cpp

        self.api: Any = llama_cpp
        llama_cpp.llama_backend_init()
        model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = context
        params.n_batch = params.n_ubatch = BATCH
        params.n_threads = params.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(model, params)
        if not self.context:
            raise SystemExit(f"llama.cpp could not open {path}")
        self.vocab_size: int = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        self.held: list[int] = []

    def prefill(self, token_ids: list[int]) -> None:
        """Computes tokens after what the context holds, batch by batch; logits for the last of each."""
        for start in range(0, len(token_ids), BATCH):
            part = token_ids[start : start + BATCH]
            tokens = (self.api.llama_token * len(part))(*part)
            if self.api.llama_decode(self.context, self.api.llama_batch_get_one(tokens, len(part))) != 0:
                raise SystemExit("llama_decode failed")
        self.api.llama_synchronize(self.context)

    def hold(self, token_ids: list[int]) -> None:
        """Leaves exactly these tokens in the context; computes them where they are not there."""
        memory = self.api.llama_get_memory(self.context)
        if self.held == token_ids and self.api.llama_memory_seq_rm(memory, 0, len(token_ids), -1):
            return
        self.api.llama_memory_clear(memory, 1)
        self.prefill(token_ids)
        self.held = token_ids

    def seconds(self, test: str, token_ids: list[int], generate: int) -> float:
        """The time of one test in a context that is empty, or for `deep` may hold the tokens already."""
        if test not in ("prefill", "decode", "deep"):
            raise SystemExit(f"llama.cpp's side has no test {test!r}")
        if test == "deep":
            self.hold(token_ids)
        else:
            self.held = []
            self.api.llama_memory_clear(self.api.llama_get_memory(self.context), 1)
            start = time.perf_counter()
            self.prefill(token_ids)
            if test == "prefill":
                return time.perf_counter() - start
        start = time.perf_counter()
        token = token_ids[-1]
        for _ in range(generate):
            token = (token * 31 + 7) % self.vocab_size  # which token it is costs nothing
            self.prefill([token])
        return time.perf_counter() - start


def main() -> None:
    """One answer a line; what llama.cpp itself prints goes to stderr or nowhere."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("threads", type=int)
    parser.add_argument("--context", type=int, default=CONTEXT)
    options = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    import llama_cpp

    silent = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    model = Model(options.model, options.threads, options.context)
    ready = {"engine": f"llama-cpp-python {llama_cpp.__version__}", "vocab_size": model.vocab_size}
    print(json.dumps(ready), file=answers)
    for line in sys.stdin:
        print(json.dumps({"seconds": model.seconds(**json.loads(line))}), file=answers)


if __name__ == "__main__":
    main()
