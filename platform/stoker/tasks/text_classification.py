"""A class for each text."""

from stoker.tasks.classification import Classification


class TextClassification(Classification):
    """Nothing beyond what all classifications share."""
