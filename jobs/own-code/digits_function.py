"""A training function as Ray Train takes it: PyTorch's loop, two calls that distribute it, and a report an epoch."""

import tempfile
from pathlib import Path

import torch
from ray import train
from ray.train.torch import prepare_data_loader, prepare_model
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def train_digits(settings: dict) -> None:
    """Train on each worker's share of the batches; `settings` are those of the job file."""
    torch.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    inputs, targets = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    held_out = torch.arange(len(targets)) % 5 == 0
    batch_size = settings["batch_size"] // train.get_context().get_world_size()
    loader = DataLoader(TensorDataset(inputs[~held_out], targets[~held_out]), batch_size, shuffle=True)
    loader = prepare_data_loader(loader)

    network = nn.Sequential(nn.Linear(64, settings["hidden"]), nn.ReLU(), nn.Linear(settings["hidden"], 10))
    network = prepare_model(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings["lr"])
    first = 1
    if checkpoint := train.get_checkpoint():  # after a failure, or a pause
        with checkpoint.as_directory() as folder:
            state = torch.load(Path(folder) / "state.pt")
        bare(network).load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"] + 1

    for epoch in range(first, settings["epochs"] + 1):
        if train.get_context().get_world_size() > 1:
            loader.sampler.set_epoch(epoch)
        for batch, expected in loader:
            loss = nn.functional.cross_entropy(network(batch), expected)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            answers = bare(network)(inputs[held_out]).argmax(dim=1)
        accuracy = (answers == targets[held_out]).float().mean().item()
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = None
            if train.get_context().get_world_rank() == 0:
                state = {"network": bare(network).state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
                torch.save(state, Path(folder) / "state.pt")
                checkpoint = train.Checkpoint.from_directory(folder)
            train.report({"epoch": epoch, "loss": loss.item(), "accuracy": accuracy}, checkpoint=checkpoint)


def bare(network: nn.Module) -> nn.Module:
    """Return the network without what `prepare_model` has wrapped around it."""
    return getattr(network, "module", network)
