"""Fine-tuning on the machine that one has: from examples to a low-rank adapter, over the packed weights."""

from ruvllm.training.base import TrainableModel
from ruvllm.training.config import LearningRateSchedule, TrainingConfig, TrainingObjective
from ruvllm.training.run import checkpoint_folder, train
from ruvllm.training.values import TokenSample, TrainingProgress, TrainingResult, TrainingSample

__all__ = [
    "LearningRateSchedule",
    "TokenSample",
    "TrainableModel",
    "TrainingConfig",
    "TrainingObjective",
    "TrainingProgress",
    "TrainingResult",
    "TrainingSample",
    "checkpoint_folder",
    "train",
]
