"""Makes a small decoder of Hugging Face's kind, for jobs that tune one: `python bench/small_decoder.py FOLDER`.

It learns to continue plain text for a few minutes: lists, counts, sums and spelled words, without questions, roles or
answers. What it knows of words and numbers comes from there; that it answers is for the tuning to teach.
"""

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from stoker.datasets.sources.instructions import DAYS, KINDS, LETTERS, MONTHS, NAMES, OPPOSITES, PLACES, WORDS
from stoker.job.job import Job
from stoker.training.assembly import assemble, prepare
from stoker.training.loop import EpochEnd, start, train

END = "<|endoftext|>"
DOCUMENTS = 20_000
LENGTH = 128
"""Most tokens that the decoder reads."""
STEPS = 800


def documents(count: int) -> list[str]:
    """Return lines of plain text, each about one thing."""
    dice = random.Random(1)
    makers = (_list, _sequence, _sum, _opposite, _kind, _letters, _count, _story, _talk)
    return [dice.choice(makers)(dice) for _ in range(count)]


def _list(dice: random.Random) -> str:
    words, place = dice.sample(WORDS, 3), dice.randrange(4)
    return f"In the list {' '.join(words)} the {PLACES[place]} word is {words[min(place, 2)]}."


def _sequence(dice: random.Random) -> str:
    names = dice.choice((DAYS, MONTHS))
    begin = dice.randrange(len(names))
    turned = [*names[begin:], *names[:begin]]
    return f"{turned[1]} comes after {turned[0]} and before {turned[2]}, then {' '.join(turned[3:6])}."


def _sum(dice: random.Random) -> str:
    one, other = dice.randint(0, 9), dice.randint(0, 9)
    order = "larger than" if one > other else "smaller than" if one < other else "the same as"
    return f"{one} + {other} makes {one + other}, and {one} is {order} {other}."


def _opposite(dice: random.Random) -> str:
    one, other = dice.sample(dice.choice(OPPOSITES), 2)
    return f"What is {one} is not {other}: {one} and {other} are opposite."


def _kind(dice: random.Random) -> str:
    kind = dice.choice(tuple(KINDS))
    one, other = dice.sample(KINDS[kind], 2)
    return f"{one}, like {other}, is the name of a thing of the kind {kind}."


def _letters(dice: random.Random) -> str:
    letters = dice.sample(LETTERS, 3)
    return (
        f"The letters {' '.join(letters)} are {' '.join(reversed(letters))} backwards, and again {' '.join(letters)}."
    )


def _count(dice: random.Random) -> str:
    words = dice.sample(WORDS, dice.randint(1, 5))
    return f"{' '.join(words)} are {len(words)} words."


def _story(dice: random.Random) -> str:
    name, word = dice.choice(NAMES), dice.choice(WORDS)
    return f"{name} remembers the word {word}. The word of {name} was {word}, and the name was {name}."


def _talk(dice: random.Random) -> str:
    name, word = dice.choice(NAMES), dice.choice(WORDS)
    said = ("Which answer will I add?", "Hello, say it in a sentence!", "Keep my mind: repeat, count and reverse!")
    return f"{word}! {dice.choice(said)} So {name} said, and: What is a word, or two? It is {word}."


def write_random_model(folder: Path, texts: list[str], **sizes: Any) -> None:
    """Write the files of a Llama with random weights, and its vocabulary of some texts."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=800, special_tokens=[END], initial_alphabet=alphabet, show_progress=False, min_frequency=2
    )
    tokenizer.train_from_iterator(texts, trainer)
    end = tokenizer.token_to_id(END)
    usual = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4}
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        max_position_embeddings=LENGTH,
        bos_token_id=end,
        eos_token_id=end,
        tie_word_embeddings=True,
        **{**usual, **sizes},
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))


def make_decoder(folder: Path, steps: int = STEPS, count: int = DOCUMENTS, **sizes: Any) -> float:
    """Write a decoder that has learnt to continue plain text; return its loss on held-out text."""
    texts = documents(count)
    write_random_model(folder, texts, **sizes)
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "texts.jsonl"  # one a line, so that the decoder learns where a text ends
        source.write_text("".join(f"{json.dumps({'text': text})}\n" for text in texts))
        job = Job.model_validate(
            {
                "task": "text-generation",
                "dataset": {
                    "source": str(source),
                    "text": {"length": 64},
                    "split": {"train": 0.98, "val": 0.02, "test": 0},
                },
                "architecture": {"family": "pretrained", "model": str(folder)},
                "training": {
                    "steps": steps,
                    "batch_size": 16,
                    "precision": "fp32",
                    "optimizer": {"type": "adamw", "lr": 3e-3, "weight_decay": 0.01},
                    "schedule": {"type": "cosine", "warmup": "5%"},
                    "gradient_clip": 1.0,
                },
            }
        )
        assembly = assemble(prepare(job))
        loss = float("nan")
        for event in train("decoder", start(assembly)):
            if isinstance(event, EpochEnd):
                loss = event.metrics["loss/val"]
                print(f"epoch {event.epoch + 1}: loss of held-out text {loss:.3f}", file=sys.stderr)
        assembly.objective.network.body.save_pretrained(folder)  # type: ignore[union-attr, operator] # foreign
    return loss


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    make_decoder(given.folder)
