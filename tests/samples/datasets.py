"""Samples that a task can learn from: 60 of them, written as a user would have them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from stoker.job.task import TASKS, TaskRow

SAMPLES = 60


def write_samples(task: TaskRow, folder: Path) -> dict[str, Any]:
    """Write what fits a task to a folder that has its name; return the `dataset` section that reads it."""
    of_target = {
        "mask": _write_masks,
        "boxes": _write_boxes,
        "normality": _write_odd_images,
        "continuation": _write_lines,
        "word-tags": _write_sentences,
        "text": _write_captions if task.inputs == ("image",) else _write_pairs,
        "blanks": _write_unlabelled,
        "answer": _write_questions,
        "replies": _write_dialogues,
    }
    of_input = {"image": _write_images, "text": _write_texts}
    write = of_target.get(task.target) or of_input.get(task.inputs[0], _write_table)
    return write(folder)


def _write_table(folder: Path) -> dict[str, Any]:
    """Numbers, some of them missing, a category and a weight; the label follows from them.

    Beside tags there are a text and the path of an image, too, which both tell them.
    """
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"length": rng.normal(size=SAMPLES), "width": rng.normal(size=SAMPLES)})
    frame["colour"] = rng.choice(["red", "blue"], SAMPLES)
    frame["weight"] = rng.random(SAMPLES).round(2)
    price = 10 * frame["length"] + (frame["colour"] == "red")
    columns: dict[str, Any] = {"label": "label", "weight": "weight"}
    frame["label"] = price if folder.name == "tabular-regression" else np.where(price > 0, "dear", "cheap")
    if TASKS[folder.name].target == "tags":  # type: ignore[index]
        frame["label"] = np.where(price > 0, "dear|", "") + frame["colour"]
        frame.loc[::7, "label"] = None
        frame["text"] = [f"a {'costly' if each > 0 else 'simple'} thing" for each in price]
        frame["photo"] = [f"{number:02}.png" for number in range(SAMPLES)]
        for name, each in zip(frame["photo"], price, strict=True):
            Image.fromarray(rng.integers(100 * (each > 0), 150, (8, 8)).astype(np.uint8)).save(folder / name)
        columns["types"] = {"text": "text", "photo": "image"}
    frame.loc[::9, "width"] = None
    frame.to_csv(folder / "table.csv", index=False)
    return {"source": str(folder / "table.csv"), "columns": columns}


def _write_images(folder: Path) -> dict[str, Any]:
    """Dark and bright images of 8x8 pixels; beside them the same without labels."""
    rng = np.random.default_rng(0)
    labels = np.array(["dark", "bright"] * (SAMPLES // 2))
    level = np.where(labels == "dark", 60, 180)[:, None, None]
    images = (level + rng.integers(-50, 50, (SAMPLES, 8, 8))).astype(np.uint8)
    np.savez(folder / "images.npz", image=images, label=labels)
    np.savez(folder / "unlabelled.npz", image=images)
    return {"source": str(folder / "images.npz")}


def _write_odd_images(folder: Path) -> dict[str, Any]:
    """Images of 8x8 pixels that are bright at the left or at the right, and some that are not bright at all."""
    rng = np.random.default_rng(0)
    labels = np.array(["left", "right"] * (SAMPLES // 2) + ["dark"] * (SAMPLES // 6))
    images = rng.integers(0, 100, (len(labels), 8, 8))
    images[labels == "left", :, :4] += 120
    images[labels == "right", :, 4:] += 120
    np.savez(folder / "images.npz", image=images.astype(np.uint8), label=labels)
    return {"source": str(folder / "images.npz"), "columns": {"normal": ["left", "right"]}}


def _write_boxes(folder: Path) -> dict[str, Any]:
    """Grey images of 32x24 pixels with dark and bright fields, and the labels of YOLO; each tenth shows none."""
    rng = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for number in range(SAMPLES):
        pixels, lines = rng.integers(100, 140, (24, 32)).astype(np.uint8), []
        for kind in range(0 if number % 10 == 9 else 1 + number % 2):
            top, left = int(rng.integers(0, 14)), int(rng.integers(0, 7)) + 16 * kind
            height, width = (int(side) for side in rng.integers(6, 10, 2))
            pixels[top : top + height, left : left + width] = (20, 230)[kind]
            middle = (left + width / 2) / 32, (top + height / 2) / 24
            lines.append(f"{kind} {middle[0]} {middle[1]} {width / 32} {height / 24}")
        Image.fromarray(pixels).save(folder / "images" / f"{number:02}.png")
        (folder / "labels" / f"{number:02}.txt").write_text("\n".join(lines), encoding="utf-8")
    (folder / "data.yaml").write_text("names: [dark, bright]\n", encoding="utf-8")
    return {"source": str(folder)}


def _write_masks(folder: Path) -> dict[str, Any]:
    """Images of 10x9 pixels with a bright field, and their masks."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for number in range(SAMPLES):
        mask = np.zeros((10, 9), np.uint8)
        top, left = rng.integers(0, 5, 2)
        mask[top : top + 4, left : left + 4] = 255
        pixels = (mask // 2 + rng.integers(0, 60, mask.shape)).astype(np.uint8)
        Image.fromarray(mask).save(folder / "masks" / f"{number:02}.png")
        Image.fromarray(pixels).save(folder / "images" / f"{number:02}.png")
    return {"source": str(folder), "format": "image-mask"}


def _write_lines(folder: Path) -> dict[str, Any]:
    """Lines of a text, which are 40 pieces to learn from."""
    text = "the cat sat on the mat and the hat sat on the cat\n" * (SAMPLES * 8 // 50)
    (folder / "lines.txt").write_text(text)
    return {"source": str(folder / "lines.txt"), "text": {"length": 8}}


def _write_sentences(folder: Path) -> dict[str, Any]:
    """Sentences of 1 to 9 words, of which those with a capital are names of a person or a place."""
    rng = np.random.default_rng(0)
    tagged = {"Ann": "B-PER", "Bob": "B-PER", "Rome": "B-LOC", "Oslo": "B-LOC", "saw": "O", "left": "O", "and": "O"}
    sentences = []
    for _ in range(SAMPLES):
        words = rng.choice([*tagged], rng.integers(1, 9)).tolist()
        rows = [f"{word}\t{tagged[word]}" for word in words]
        sentences.append("\n".join([*rows, "Smith\tI-PER"] if words[-1] in ("Ann", "Bob") else rows))
    (folder / "sentences.conll").write_text("\n\n".join(sentences) + "\n")
    return {"source": str(folder / "sentences.conll")}


def _write_pairs(folder: Path) -> dict[str, Any]:
    """Sentences of 1 to 6 words, and the same in another language, with a weight for each."""
    rng = np.random.default_rng(0)
    words = {"the": "der", "red": "rote", "dog": "Hund", "sees": "sieht", "no": "kein", "cat": "Kater"}
    rows = []
    for _ in range(SAMPLES):
        text = rng.choice([*words], rng.integers(1, 7))
        translated = " ".join(words[word] for word in text)
        rows.append({"en": " ".join(text), "de": translated, "w": round(float(rng.random()), 2)})
    pd.DataFrame(rows).to_csv(folder / "pairs.csv", index=False)
    columns = {"label": "de", "features": ["en"], "weight": "w"}
    return {"source": str(folder / "pairs.csv"), "columns": columns, "text": {"tokens": "words", "length": 8}}


def _write_captions(folder: Path) -> dict[str, Any]:
    """Images of 8x8 pixels that are bright at one side, with one or two captions and a weight for each."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(SAMPLES * 3 // 4):
        side, pixels = number % 2, rng.integers(0, 100, (8, 8))
        pixels[:, 4 * side : 4 * side + 4] += 120
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:02}.png")
        said = f"the {['left', 'right'][side]} side"
        for caption in (said, f"{said} shines")[: 1 + number % 3 // 2]:
            rows.append({"image": f"{number:02}.png", "caption": caption, "w": round(float(rng.random()), 2)})
    pd.DataFrame(rows).to_csv(folder / "captions.csv", index=False)
    columns = {"label": "caption", "weight": "w"}
    return {"source": str(folder / "captions.csv"), "columns": columns, "text": {"tokens": "words", "length": 8}}


def _write_unlabelled(folder: Path) -> dict[str, Any]:
    """Sentences of 1 to 12 words."""
    written = _write_texts(folder)
    frame = pd.read_csv(written["source"])
    frame[["text"]].to_csv(written["source"], index=False)
    return {"source": written["source"], "text": {"length": 16}}


def _write_questions(folder: Path) -> dict[str, Any]:
    """What a film, a plot or the like is; a few texts are longer than a window, and some have no answer."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(SAMPLES):
        nouns = rng.permutation(["film", "plot", "cast", "thing", "and"])
        adjectives = rng.permutation(["good", "bad", "simple", "costly", "the"])
        pairs = 5 if number % 15 == 0 else int(rng.integers(1, 4))
        context = " ".join(f"{noun} {what}" for noun, what in zip(nouns[:pairs], adjectives, strict=False))
        there = number % 8 > 0
        asked = int(rng.integers(0, pairs)) if there else -1
        answer = adjectives[asked] if there or pairs == 5 else ""
        weight = round(float(rng.random()), 2)
        rows.append({"question": nouns[asked], "context": context, "answer": answer, "w": weight})
    pd.DataFrame(rows).to_csv(folder / "questions.csv", index=False)
    columns = {"label": "answer", "features": ["question", "context"], "weight": "w"}
    return {"source": str(folder / "questions.csv"), "columns": columns, "text": {"length": 12}}


def _write_dialogues(folder: Path) -> dict[str, Any]:
    """Dialogues of one to three turns, in which the assistant repeats a word, with a weight for each."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(SAMPLES):
        words = rng.choice(["film", "plot", "cast", "cat"], rng.integers(1, 4))
        messages = [{"role": "system", "content": "a thing"}] if number % 5 == 0 else []
        for word in words:
            messages += [{"role": "user", "content": f"the {word}"}, {"role": "assistant", "content": str(word)}]
        rows.append({"messages": messages, "w": round(float(rng.random()), 2)})
    (folder / "dialogues.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    columns = {"weight": "w"}
    return {"source": str(folder / "dialogues.jsonl"), "columns": columns, "text": {"tokens": "words", "length": 20}}


def _write_texts(folder: Path) -> dict[str, Any]:
    """Sentences of 1 to 12 words, of which one or two tell the label."""
    rng = np.random.default_rng(0)
    words = np.array(["the", "film", "plot", "cast", "was", "and", "a"])
    rows = []
    for number in range(SAMPLES):
        text = [*rng.choice(words, rng.integers(0, 11)), "good" if number % 2 else "bad"]
        rows.append({"text": " ".join(rng.permutation(text)), "label": "praise" if number % 2 else "blame"})
    pd.DataFrame(rows).to_csv(folder / "texts.csv", index=False)
    return {"source": str(folder / "texts.csv"), "columns": {"label": "label"}}
