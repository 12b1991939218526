"""A transformer encoder over the rows of an image."""

from torch import nn


class Tokens(nn.Module):
    def __init__(self, width=32, layers=2):
        super().__init__()
        self.embed = nn.Linear(8, width)
        options = {"dropout": 0.0, "batch_first": True, "norm_first": True}
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(width, 4, 4 * width, **options) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, images):
        tokens = self.embed(images[:, 0])
        for layer in self.layers:
            tokens = layer(tokens)
        return self.head(self.norm(tokens).mean(dim=1))
