"""Makes a small decoder of Hugging Face's kind, for jobs that tune one: `python bench/small_decoder.py FOLDER`.

It learns to continue plain text for a few minutes: lists, counts, sums, spelled and repeated words, without questions,
roles or answers. What it knows of words and numbers, and that it can copy what stands before, comes from there; that it
answers is for the tuning to teach.
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
from stoker.training.assembly import assemble
from stoker.training.events import EpochEnd
from stoker.training.loop import start, train
from stoker.training.preparation import prepare

END = "<|endoftext|>"
DOCUMENTS = 20_000
LENGTH = 128
"""Most tokens that the decoder reads."""
STEPS = 1_600
"""Copying appears suddenly, between steps 600 and 900; adapters do not teach it to a decoder that lacks it."""


def documents(count: int) -> list[str]:
    """Return paragraphs of plain text."""
    dice = random.Random(1)
    return [_paragraph(dice) for _ in range(count)]


def _paragraph(dice: random.Random) -> str:
    """Return one to three lines, each about one thing, at times within a story; so nothing has a place of its own."""
    makers = (_list, _list, _sequence, _sum, _opposite, _kind, _letters, _count, _talk, _repeated, _repeated, _repeated)
    lines = [dice.choice(makers)(dice) for _ in range(dice.randint(1, 3))]
    return " ".join(_story(dice, lines[:2]) if dice.random() < 1 / 2 else lines)


def _story(dice: random.Random, lines: list[str]) -> list[str]:
    """Return the lines with two about somebody's word, the second of which follows from the first."""
    name, word = dice.choice(NAMES), dice.choice(WORDS)
    begin = (
        f"{name} remembers the word {word}.",
        f"The word of {name} is {word}.",
        f"Here is {name}, with the word {word} in mind.",
    )
    end = (
        f"The word of {name} was {word}.",
        f"The word was {word}, and the name was {name}.",
        f"So {name} has {word}.",
    )
    first = dice.randint(0, len(lines))
    second = dice.randint(first, len(lines))
    return [*lines[:first], dice.choice(begin), *lines[first:second], dice.choice(end), *lines[second:]]


def _list(dice: random.Random) -> str:
    words, place = dice.sample(WORDS, dice.randint(3, 5)), dice.randrange(4)
    listed, which, word = " ".join(words), PLACES[place], words[-1 if PLACES[place] == "last" else place]
    forms = (
        f"In the list {listed} the {which} word is {word}.",
        f"The {which} word of {listed} is {word}.",
        f"{listed}: {word} is the {which} word.",
        f"Of {listed} the {which} is {word}, the first {words[0]} and the last {words[-1]}.",
    )
    return dice.choice(forms)


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
    letters = dice.sample(LETTERS, dice.randint(2, 5))
    there, back = " ".join(letters), " ".join(reversed(letters))
    forms = (
        f"The letters {there} are {back} backwards, and again {there}.",
        f"Backwards, {there} is {back}.",
        f"Read from the end, {there} makes {back}.",
    )
    return dice.choice(forms)


def _count(dice: random.Random) -> str:
    words = dice.sample(WORDS, dice.randint(1, 5))
    listed = " ".join(words)
    return dice.choice((f"{listed} are {len(words)} words.", f"The list {listed} has {len(words)} words."))


def _repeated(dice: random.Random) -> str:
    """Return a list twice: most of what can be foreseen of it takes copying."""
    listed = " ".join(dice.choice(dice.choice((WORDS, LETTERS, NAMES))) for _ in range(dice.randint(4, 12)))
    return dice.choice((f"{listed}, and again {listed}.", f"{listed}: {listed}."))


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
        initializer_range=0.08,  # about 1 / sqrt(hidden_size); with the usual 0.02 it never begins to copy
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
                    "text": {"length": LENGTH},
                    "split": {"train": 0.98, "val": 0.02, "test": 0},
                },
                "architecture": {"family": "pretrained", "model": str(folder)},
                "training": {
                    "steps": steps,
                    "batch_size": 16,
                    "precision": "fp32",
                    "optimizer": {"type": "adamw", "lr": 2e-3, "weight_decay": 0.01},
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
