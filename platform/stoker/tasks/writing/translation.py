"""Each text in another language."""

from stoker.tasks.writing.text_metrics import Bleu, TextMetrics
from stoker.tasks.writing.text_to_text import TextToText


class Translation(TextToText):
    """Translations are compared by BLEU."""

    def scores(self) -> TextMetrics:
        """Return BLEU and exact matches."""
        return Bleu(self.target)
