"""Sentences whose words are tagged."""

from dataclasses import dataclass, replace

from stoker.datasets.columns import Ragged
from stoker.datasets.fields.texts.word_pieces import WordPiecesField
from stoker.datasets.fields.texts.word_tags import WordTagsField, check_lengths
from stoker.datasets.layouts.columns import Columns
from stoker.datasets.records import Records
from stoker.datasets.samples import Samples


@dataclass(frozen=True)
class TaggedWords(Columns):
    """A column of words, and one of as many tags."""

    def encode(self, records: Records, target: bool) -> Samples:
        """Encode both; tags of words that are cut into tokens are as many as these.

        Raises:
            JobError: a value does not fit its field, or a sentence has not as many tags as words.

        """
        if not target or not isinstance(self.target, WordTagsField):
            return super().encode(records, target)
        (words,) = self.inputs
        check_lengths(records.columns[words.name], records.columns[self.target.name], self.target.name)
        samples = super().encode(records, target)
        if not isinstance(words, WordPiecesField):
            return samples
        (sentences,) = samples.inputs.values()
        assert isinstance(sentences, Ragged)
        assert isinstance(samples.target, Ragged)
        return replace(samples, target=words.beside(samples.target, sentences))
