"""What `peft` on PyTorch makes of the work that `benches.training` wrote down; needs both."""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM


def main() -> None:
    work = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if work["threads"]:
        torch.set_num_threads(work["threads"])
    torch.manual_seed(0)
    path = Path(work["model"])
    model: Any = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(
        r=work["rank"], lora_alpha=work["alpha"], target_modules=modules, task_type="CAUSAL_LM"
    )
    model = get_peft_model(model, config)
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=work["learning_rate"], weight_decay=0.01)
    losses, tokens, began = [], 0, time.perf_counter()
    for items in work["steps"]:
        batch, counted = batch_of(work, items)
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss))
        tokens += counted
    seconds = time.perf_counter() - began
    # In kB, but for macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    print(json.dumps({"losses": losses, "tokens_per_second": tokens / seconds, "peak_resident_bytes": peak}))


def batch_of(work: dict[str, Any], items: list[int]) -> tuple[dict[str, Any], int]:
    """Examples beside each other, filled up to the longest, and their tokens counted as ours are."""
    texts = [work["tokens"][item] for item in items]
    longest = max(map(len, texts))
    ids, mask, labels = (torch.full((len(items), longest), fill) for fill in (0, 0, -100))
    for row, item in enumerate(items):
        text = torch.tensor(texts[row])
        ids[row, : len(text)] = text
        mask[row, : len(text)] = 1
        is_answer = torch.tensor(work["is_answer"][item])
        labels[row, : len(text)] = torch.where(is_answer, text, -100)
    batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    return batch, sum(len(text) - 1 for text in texts)


if __name__ == "__main__":
    main()
