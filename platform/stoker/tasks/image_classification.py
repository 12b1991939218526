"""A class for each picture."""

from stoker.tasks.classification import Classification


class ImageClassification(Classification):
    """Nothing beyond what all classifications share; the worst samples are drawn by whoever has the pictures."""
