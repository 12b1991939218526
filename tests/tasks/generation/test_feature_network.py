"""A classifier sees images as it has learnt from them: in its size, channels, standardisation and classes."""

import pytest
import torch
from torch import nn

from stoker.datasets.fields.image import ImageField
from stoker.errors import JobError
from stoker.tasks.generation.feature_network import FeatureNetwork

OWN = ImageField("picture", 8, 8, 1, (100.0,), (50.0,))
SEEN = ImageField("image", 4, 4, 3, (20.0,) * 3, (10.0,) * 3)


class Corner(nn.Module):
    """Sees the first pixel of each channel."""

    def __init__(self):
        super().__init__()
        self.output = nn.Linear(3, 2, bias=False)
        with torch.no_grad():
            self.output.weight.copy_(torch.tensor([[0.0, 0, 0], [1, 0, 0]]))

    def forward(self, inputs):
        return self.output(inputs["image"][:, :, 0, 0])


def test_images_are_resized_coloured_and_standardised_anew():
    network = FeatureNetwork(Corner(), SEEN, ("dark", "light"), OWN, ("light", "dark"))
    levels = torch.tensor([10.0, 60.0, 300.0])
    images = ((levels - 100) / 50)[:, None, None, None].expand(3, 1, 8, 8)
    features, classes = network(images)
    assert features.tolist() == [[-1.0] * 3, [4.0] * 3, [23.5] * 3], "brighter than white is white"
    assert classes.tolist() == [1, 0, 0], "numbers are those of the images' own classes"
    assert network.width == 3


def test_classes_that_it_does_not_know_are_never_named():
    network = FeatureNetwork(Corner(), SEEN, ("dark", "light"), OWN, ("light", "grey"))
    assert not network.names_classes
    assert network(torch.zeros(2, 1, 8, 8))[1].tolist() == [-1, -1]


def test_a_network_without_a_last_layer_for_the_classes_or_for_colours_is_refused():
    with pytest.raises(JobError, match="not a linear one with an output for each class"):
        FeatureNetwork(Corner(), SEEN, ("a", "b", "c"), OWN, ())
    with pytest.raises(JobError, match="takes images of 1 channel, not of 3"):
        FeatureNetwork(Corner(), OWN, ("a", "b"), SEEN, ())
