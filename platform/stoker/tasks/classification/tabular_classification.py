"""A class for each row of a table."""

from stoker.tasks.classification.classification import Classification


class TabularClassification(Classification):
    """Nothing beyond what all classifications share."""
