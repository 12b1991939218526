"""A short text for each long one."""

from stoker.tasks.writing.text_metrics import Rouge, TextMetrics
from stoker.tasks.writing.text_to_text import TextToText


class Summarization(TextToText):
    """Summaries are compared by ROUGE."""

    def scores(self) -> TextMetrics:
        """Return ROUGE and exact matches."""
        return Rouge(self.target)
