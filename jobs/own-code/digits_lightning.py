"""A Lightning module and its trainer on Ray's workers, as Ray's documentation writes them."""

import lightning.pytorch as pl
import torch
from ray import train
from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment, RayTrainReportCallback, prepare_trainer
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class Digits(pl.LightningModule):
    """A small network that tells the digits of 8 by 8 pictures apart."""

    def __init__(self, lr: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Return the loss of a batch."""
        inputs, targets = batch
        loss = nn.functional.cross_entropy(self.network(inputs), targets)
        self.log("loss", loss, on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Log the accuracy of a batch."""
        inputs, targets = batch
        right = (self.network(inputs).argmax(dim=1) == targets).float()
        self.log("accuracy", right.mean(), on_epoch=True, sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer."""
        return torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)


def train_digits(settings: dict) -> None:
    """Train, and report metrics and a checkpoint after each epoch; `settings` are those of the job file."""
    pl.seed_everything(0)
    images, labels = load_digits(return_X_y=True)
    samples = TensorDataset(torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels))
    training, held_out = torch.utils.data.random_split(samples, [0.8, 0.2], torch.Generator().manual_seed(0))
    trainer = prepare_trainer(
        pl.Trainer(
            max_epochs=settings["epochs"],
            accelerator="auto",
            devices="auto",
            strategy=RayDDPStrategy(),
            plugins=[RayLightningEnvironment()],
            callbacks=[RayTrainReportCallback()],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            logger=False,
        )
    )
    loaders = DataLoader(training, settings["batch_size"], shuffle=True), DataLoader(held_out, 512)
    if checkpoint := train.get_checkpoint():  # after a failure, or a pause
        with checkpoint.as_directory() as folder:
            trainer.fit(Digits(settings["lr"]), *loaders, ckpt_path=f"{folder}/checkpoint.ckpt")
    else:
        trainer.fit(Digits(settings["lr"]), *loaders)
