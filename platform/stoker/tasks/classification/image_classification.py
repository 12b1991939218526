"""A class for each image."""

from torch import nn

from stoker.tasks.classification.classification import Classification
from stoker.tasks.objective import BatchLike
from stoker.tasks.sheet import Picture, Sheet


class ImageClassification(Classification):
    """What all classifications share, and images with their classes."""

    def show(self, network: nn.Module, few: BatchLike, seed: int) -> Sheet:
        """Return images with their classes and the predicted ones."""
        pixels = self.fields.image.pixels(next(iter(few.inputs.values()))).cpu().numpy()
        probabilities, chosen = network(few.inputs).float().softmax(dim=1).max(dim=1)
        pictures = []
        for row, image in enumerate(pixels):
            truth, predicted = self.classes[int(few.target[row])], self.classes[int(chosen[row])]
            caption = f"{truth}\n{predicted} {float(probabilities[row]):.0%}"
            pictures.append(Picture((image,), caption, wrong=truth != predicted))
        return Sheet("predicted", tuple(pictures))
