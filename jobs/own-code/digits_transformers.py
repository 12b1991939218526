"""Hugging Face's Trainer on Ray's workers: Ray's report callback, and the newest checkpoint to go on from."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from ray import train
from ray.train.huggingface.transformers import RayTrainReportCallback, prepare_trainer
from sklearn.datasets import load_digits
from torch.utils.data import Dataset
from transformers import EvalPrediction, Trainer, TrainingArguments, ViTConfig, ViTForImageClassification, set_seed


class Digits(Dataset):
    """Digits of 8 by 8 pixels, under the names that the model takes; every fifth is held out."""

    def __init__(self, held_out: bool) -> None:
        images, labels = load_digits(return_X_y=True)
        chosen = (np.arange(len(labels)) % 5 == 0) == held_out
        self.images = torch.tensor(images[chosen].reshape(-1, 1, 8, 8) / 16, dtype=torch.float32)
        self.labels = torch.tensor(labels[chosen])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"pixel_values": self.images[index], "labels": self.labels[index]}


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    """Return the share of right answers."""
    return {"accuracy": float((prediction.predictions.argmax(axis=1) == prediction.label_ids).mean())}


def train_digits(settings: dict) -> None:
    """Train, and report metrics and a checkpoint after each epoch; `settings` are those of the job file."""
    set_seed(0)
    config = ViTConfig(
        image_size=8, patch_size=2, num_channels=1, num_labels=10,
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=settings["epochs"],
            per_device_train_batch_size=settings["batch_size"] // train.get_context().get_world_size(),
            learning_rate=settings["lr"],
            eval_strategy="epoch",
            save_strategy="epoch",
            logging_strategy="epoch",
            save_total_limit=1,
            dataloader_pin_memory=torch.cuda.is_available(),
            disable_tqdm=True,
            report_to="none",
        )
        trainer = Trainer(
            ViTForImageClassification(config),
            arguments,
            train_dataset=Digits(held_out=False),
            eval_dataset=Digits(held_out=True),
            compute_metrics=accuracy,
            callbacks=[RayTrainReportCallback()],
        )
        trainer = prepare_trainer(trainer)
        if checkpoint := train.get_checkpoint():  # after a failure, or a pause
            with checkpoint.as_directory() as saved:
                trainer.train(resume_from_checkpoint=str(Path(saved) / RayTrainReportCallback.CHECKPOINT_NAME))
        else:
            trainer.train()
