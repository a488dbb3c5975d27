"""`train`: from data to an adapter's folder."""

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ruvllm._native as _native
from ruvllm.adapters import AdapterWeights, Part, write_peft
from ruvllm.adapters.registry import MODULES
from ruvllm.adapters.weights import Matrix
from ruvllm.errors import ConfigError, NotFoundError, TrainingError
from ruvllm.runtime.open_model import OpenModel
from ruvllm.runtime.text_methods import TextMethods
from ruvllm.training.base import TrainableModel
from ruvllm.training.checkpoint import Checkpoint, Identity, RunState, Values, settings_as_json
from ruvllm.training.config import TrainingConfig
from ruvllm.training.encoding import Encoder, Lengths
from ruvllm.training.material import Material
from ruvllm.training.order import Order, split
from ruvllm.training.records import Data
from ruvllm.training.trainer import Trainer, mean_loss, values_of
from ruvllm.training.values import OnProgress, TrainingResult
from ruvllm.whole_file import placing_folder

__all__ = ["checkpoint_folder", "encoder_of", "train"]

# Longer examples are cut, where nothing else is said.
MAX_TOKENS = 1024
# So many of the trained examples are looked at before and after.
LOOKED_AT = 100
_NAME = re.compile(
    r".*layers\.(?P<layer>\d+)\.(?:self_attn|mlp)\.(?P<module>\w+)\.lora_(?P<half>[AB])\.weight"
)


def train(
    model: TrainableModel | TextMethods | OpenModel | str | os.PathLike[str],
    data: Data,
    config: TrainingConfig | None = None,
    *,
    out: str | os.PathLike[str],
    resume: bool = False,
    on_progress: OnProgress | None = None,
) -> TrainingResult:
    """Train a low-rank adapter, and write it as a folder that `llm.adapters.load` and `peft` take.

        result = train("smollm2-135m", "answers.jsonl", out="adapters/tone")

    Args:
        model: What `LLM` takes as a name, or an `LLM`, whose weights are shared and which goes on serving.
        data: A file of JSON lines, or a list of such objects or of `TrainingSample`s.
        config: How; the defaults are `TrainingConfig()`.
        out: The folder; there must be none yet. While training, `OUT.training` beside it has what is needed
            to go on.
        resume: Whether to go on from there; model, data and config must be the same as before.
        on_progress: Called after each step. What it raises ends the run, which can then be resumed.
    """
    config, target = config or TrainingConfig(), Path(out)
    _check_free(target, resume=resume)
    trainable = TrainableModel.of(model)
    run = _prepared(trainable, data, config, target, resume=resume)
    run.trainer.run(on_progress)
    result = run.finish(target, trainable.text.name)
    shutil.rmtree(run.trainer.checkpoint.folder, ignore_errors=True)
    return result


def encoder_of(model: TrainableModel, config: TrainingConfig) -> Encoder:
    """What makes examples for a run of that config."""
    return Encoder(
        text=model.text,
        end_tokens=model.end_tokens,
        max_tokens=config.max_tokens or min(MAX_TOKENS, model.native.max_context),
        quality_threshold=config.quality_threshold,
    )


def checkpoint_folder(out: Path) -> Path:
    """Where a run that writes there keeps what it needs to go on."""
    return out.with_name(f"{out.name}.training")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A run that can begin or go on."""

    trainer: Trainer
    trained: Sequence[int]
    lengths: Lengths

    def finish(self, target: Path, base_model: str) -> TrainingResult:
        """Take the best adapter, judge it and write it."""
        trainer, state = self.trainer, self.trainer.state
        training, objective = trainer.training, trainer.objective
        for name, best in trainer.best.items():
            training.write(name, "value", best)
        after = mean_loss(objective, training, _looked_at(self.trained))
        held_out = mean_loss(objective, training, trainer.held_out) if trainer.held_out else None
        values = values_of(training)
        weights = _weights(values, trainer.config, base_model)
        with placing_folder(target) as folder:
            write_peft(weights, folder)
        _, peak_bytes = _native.process_memory()
        return TrainingResult(
            adapter=target,
            steps=state.step,
            best_step=state.best_step if trainer.best else state.step,
            stopped_early=state.step < trainer.order.steps,
            train_loss_before=state.train_loss_before,
            train_loss_after=after,
            held_out_loss_before=state.held_out_loss_before,
            held_out_loss_after=held_out,
            examples=len(self.trained),
            held_out=len(trainer.held_out),
            left_out=self.lengths.left_out + self.lengths.below_quality,
            cut=self.lengths.cut,
            parameters=sum(one.size for one in values.values()),
            tokens=state.tokens,
            seconds=state.seconds,
            activation_bytes=training.activation_bytes(),
            peak_resident_bytes=peak_bytes,
        )


def _check_free(target: Path, *, resume: bool) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"out is {target}, which is there already; an adapter is not written over anything")
    folder = checkpoint_folder(target)
    if resume and not folder.is_dir():
        raise NotFoundError(f"there is no {folder}, so there is no run to resume")
    if not resume and folder.exists():
        raise ConfigError(f"{folder} is of a run that has not ended; resume it, or remove the folder")


def _prepared(
    model: TrainableModel, data: Data, config: TrainingConfig, target: Path, *, resume: bool
) -> _Run:
    encoder = encoder_of(model, config)
    material = Material.of(encoder, data, config)
    trained, held_out = split(len(material), config.held_out, config.seed)
    held = _looked_at(held_out)
    training = _begun(model, config)
    identity = Identity(settings=settings_as_json(config), data=material.digest())
    checkpoint = Checkpoint(checkpoint_folder(target), identity)
    is_resumed = resume and checkpoint.exists
    objective = material.objective(model, training, checkpoint, is_resumed=is_resumed)
    # By the model itself, as long as the adapter does nothing.
    first_loss = mean_loss(objective, training, trained[:1])
    best: Values = {}
    if is_resumed:
        state, best = checkpoint.load(training, first_loss)
    else:
        state = RunState(
            first_loss=first_loss,
            train_loss_before=mean_loss(objective, training, _looked_at(trained)),
            held_out_loss_before=mean_loss(objective, training, held) if held else None,
        )
        checkpoint.save(state, training, best)
    trainer = Trainer(
        training=training,
        objective=objective,
        order=Order.of(trained, config),
        held_out=held,
        config=config,
        checkpoint=checkpoint,
        state=state,
        best=best,
    )
    return _Run(trainer=trainer, trained=trained, lengths=encoder.lengths)


def _begun(model: TrainableModel, config: TrainingConfig) -> "_native.Training":
    """An adapter that does nothing yet."""
    return _native.Training(
        model.native,
        rank=config.rank,
        alpha=config.alpha,
        modules=list(config.target_modules or MODULES),
        seed=config.seed,
        layers=None if config.layers is None else list(config.layers),
    )


def _looked_at(items: Sequence[int]) -> list[int]:
    """Some of many examples, the same each time."""
    stride = max(1, -(-len(items) // LOOKED_AT))
    return list(items[::stride])


def _weights(values: Values, config: TrainingConfig, base_model: str) -> AdapterWeights:
    """The adapter as others read it."""
    halves: dict[tuple[int, str], dict[str, Matrix]] = {}
    for name, matrix in values.items():
        found = _NAME.fullmatch(name)
        if found is None:
            raise TrainingError(f"the engine trained {name!r}, which is no tensor of PEFT's")
        halves.setdefault((int(found["layer"]), found["module"]), {})[found["half"]] = matrix
    scale = config.alpha / config.rank
    parts = [
        Part(layer=layer, module=module, a=both["A"], b=both["B"], scale=scale)
        for (layer, module), both in sorted(halves.items())
    ]
    return AdapterWeights(parts=tuple(parts), base_model=base_model)
