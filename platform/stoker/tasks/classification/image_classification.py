"""A class for each image."""

from stoker.tasks.classification.classification import Classification


class ImageClassification(Classification):
    """Nothing beyond what all classifications share; the record draws the worst images."""
