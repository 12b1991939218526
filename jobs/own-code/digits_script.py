"""A script as torchrun starts it: it finds rank and peers in the environment, and goes on from its own checkpoint."""

import argparse
import os
from pathlib import Path

import mlflow
import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def main() -> None:
    """Train on this process's share of each batch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lr", type=float, default=1e-3)
    arguments = parser.parse_args()

    dist.init_process_group("gloo")
    rank, count = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    inputs, targets = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    network = DistributedDataParallel(nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)))
    optimizer = torch.optim.AdamW(network.parameters(), lr=arguments.lr)

    saved = Path(os.environ["STOKER_CHECKPOINT_DIR"]) / "state.pt"
    first = 0
    if saved.exists():
        state = torch.load(saved)
        network.module.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"] + 1
    if rank == 0:
        mlflow.start_run()  # the run's own page

    for epoch in range(first, arguments.epochs):
        order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(epoch))
        for batch in order.split(64)[:-1]:
            mine = batch[rank::count]
            loss = nn.functional.cross_entropy(network(inputs[mine]), targets[mine])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if rank == 0:
            mlflow.log_metric("loss", loss.item(), step=epoch)
            state = {"network": network.module.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
            torch.save(state, saved.with_suffix(".partial"))
            saved.with_suffix(".partial").replace(saved)
            print(f"epoch {epoch}  loss {loss.item():.4f}")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
