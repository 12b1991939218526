"""A class for each text."""

from stoker.tasks.classification.classification import Classification


class TextClassification(Classification):
    """Nothing beyond what all classifications share."""
