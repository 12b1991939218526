"""`generate`: make new samples with the model of a run."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import count as counting
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stoker.cli.commands.inference import load_model
from stoker.cli.session import Session, examples, format_option, run_argument, session_object
from stoker.cli.views.tables import print_json
from stoker.tasks.writing.settings import HOTTEST, LONGEST, Writing

if TYPE_CHECKING:
    from stoker.inference.generation import Sampling
    from stoker.inference.model import Model

IMAGES, TEXTS, ROWS = 64, 1, 100
"""How many are made by default."""
OF_TEXTS = ("prompt", "interactive", "length", "temperature", "top_k", "top_p", "stop")
IN_STEPS = ("steps", "guidance", "walk", "strip")
OF_IMAGES = ("classes", *IN_STEPS)
GRID, FILM = ".png", ".gif"
"""Endings of one file for all images."""


@click.command(
    epilog=examples(
        "stoker generate @last --output samples/                  images, into a folder",
        "stoker generate digits-gan --count 64 --class 3 --seed 1 --output samples/",
        "stoker generate digits-gan --count 64 --output samples.png       a grid of them, as one image",
        "stoker generate digits-gan --count 5 --walk 12 --output walk.gif a film from one to the next",
        "stoker generate digits-diffusion --steps 50 --guidance 2 --output samples/",
        "stoker generate digits-diffusion --count 8 --strip --output strips.png   how they come out of noise",
        "stoker generate penguins-rows --count 1000 --class Gentoo --output rows.csv",
        "stoker generate plays --prompt 'ROMEO:'                  a text, as it is written",
        "stoker generate plays --prompt 'ROMEO:' --length 500 --temperature 0.5 --top-p 0.9 --stop 'JULIET:'",
        "stoker generate plays -i                                 a prompt a line, each with what follows",
        "stoker generate instructions --prompt 'What is 3 + 4?'   the answer of a model that was tuned to answer",
        "stoker generate instructions -i                          a conversation, as far back as the context reaches",
    )
)
@run_argument
@click.option(
    "--count", type=click.IntRange(1, 1_000_000), help=f"How many; default: {IMAGES} images, {ROWS} rows, {TEXTS} text."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The same seed, the same samples.")
@click.option(
    "--output",
    "target",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Write files to this folder; all images to one .png, or as a film to one .gif; rows of a table to this file.",
)
@click.option("--class", "classes", metavar="NAME", multiple=True, help="Samples of this class; may be given again.")
@click.option("--steps", type=click.IntRange(1, 10_000), help="Steps from noise to an image, of a diffusion.")
@click.option(
    "--guidance",
    type=click.FloatRange(0, 100),
    help="Above 1 images are more typical of their class, and vary less; of a diffusion.",
)
@click.option("--walk", type=click.IntRange(2, 1000), help="So many images from each one to the next.")
@click.option("--strip", is_flag=True, help="Show how each image comes out of noise, of a diffusion.")
@click.option(
    "--prompt",
    metavar="TEXT",
    help="The beginning of a text, which is continued, or what is to be answered: a text, or messages as JSON.",
)
@click.option("-i", "--interactive", is_flag=True, help="Read prompts from the terminal; each adds to the text.")
@click.option("--length", type=click.IntRange(1, LONGEST), help=f"Most tokens of a text; default: {Writing.length}.")
@click.option(
    "--temperature",
    type=click.FloatRange(0, HOTTEST),
    help=f"Below 1 likely tokens become likelier, 0 takes the likeliest; default: {Writing.temperature}, answers: 0.",
)
@click.option("--top-k", type=click.IntRange(1), help="Only so many of the likeliest tokens are written.")
@click.option(
    "--top-p",
    type=click.FloatRange(0, 1, min_open=True),
    help="Only the likeliest tokens that have this probability together.",
)
@click.option("--stop", metavar="TEXT", multiple=True, help="End a text before this; may be given again.")
@format_option
@session_object
@click.pass_context
def generate(
    context: click.Context,
    session: Session,
    run: str,
    count: int | None,
    seed: int,
    target: Path | None,
    classes: tuple[str, ...],
    steps: int | None,
    guidance: float | None,
    walk: int | None,
    strip: bool,
    prompt: str | None,
    interactive: bool,
    length: int | None,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    stop: tuple[str, ...],
    form: str,
) -> None:
    """Make new samples with a run's model.

    They are images in a folder or in one file, rows of a table, or texts, which appear while they are written.
    """
    if interactive and (prompt is not None or target or count):
        raise click.UsageError("-i reads its prompts from the terminal; leave out --prompt, --count and --output")
    model = load_model(session, run)
    from stoker.inference.generation import sampler

    writes, images = model.task.writes, bool(model.fields.signature.images)
    if not writes:
        sampler(model)
    refused = OF_IMAGES if writes else OF_TEXTS if images else (*OF_TEXTS, *IN_STEPS)
    if wrong := [name for name in refused if context.params[name]]:
        made = "texts" if writes else "images" if images else "rows"
        raise click.UsageError(f"--{wrong[0].replace('_', '-').replace('classes', 'class')} does nothing for {made}")
    if not writes and not images:
        _rows(model, count or ROWS, seed, classes, target, form)
        return
    one_file = images and target is not None and target.suffix in (GRID, FILM)
    if target and target.exists() and not target.is_dir() and not one_file:
        raise click.UsageError(f"--output: '{target}' is a file; name a folder")
    if not writes:
        from stoker.inference.generation import Sampling

        if walk and strip:
            raise click.UsageError("--walk and --strip are two ways to see images; leave out one")
        _images(model, count or IMAGES, seed, classes, Sampling(steps, guidance, walk or 0, strip), target, form)
        return
    if target and target.suffix in (GRID, FILM):
        raise click.UsageError("texts are written to a folder, not to an image")
    given = {"length": length, "temperature": temperature, "top_k": top_k, "top_p": top_p, "stop": stop or None}
    writing = replace(model.task.writing, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type] # checked by click
    if interactive:
        _converse(model, writing, seed)
    else:
        _texts(model, prompt or "", count or TEXTS, writing, seed, target, form)


def _images(
    model: "Model",
    count: int,
    seed: int,
    classes: tuple[str, ...],
    sampling: "Sampling",
    target: Path | None,
    form: str,
) -> None:
    from stoker.inference.generation import generate as generate_with
    from stoker.inference.output import write_film, write_grid, write_image

    made = generate_with(model, count, seed, classes, sampling)
    if target is None:
        raise click.UsageError("images need a folder, or a .png or .gif file: name it with --output")
    count *= sampling.images
    if target.suffix in (GRID, FILM):
        target.parent.mkdir(parents=True, exist_ok=True)
        images = [each for _, each in made]
        if target.suffix == GRID:
            write_grid(target, images, sampling.images if sampling.images > 1 else None)
        else:
            write_film(target, images)
        _written([{"file": str(target), "class": None}], f"wrote {count:,} images to {target}", form)
        return
    target.mkdir(parents=True, exist_ok=True)
    width = len(str(count - 1))
    written = []
    for number, (name, pixels) in enumerate(made):
        stem = f"{number:0{width}}" if not name else f"{name}-{number:0{width}}"
        write_image(target / f"{stem}.png", pixels)
        written.append({"file": str(target / f"{stem}.png"), "class": name or None})
    _written(written, f"wrote {count:,} images to {target}/", form)


def _written(files: list[dict[str, str | None]], message: str, form: str) -> None:
    if form == "json":
        print_json(files)
    else:
        click.echo(message, err=True)


def _rows(model: "Model", count: int, seed: int, classes: tuple[str, ...], target: Path | None, form: str) -> None:
    from stoker.inference.generation import generate_rows
    from stoker.inference.output import SUFFIXES, write_table

    if target and target.suffix not in SUFFIXES:
        raise click.UsageError(f"--output: name a file with {', '.join(SUFFIXES)}")
    table = generate_rows(model, count, seed, classes)
    if target:
        write_table(table, target)
        click.echo(f"wrote {count:,} rows to {target}", err=True)
    elif form == "json":
        click.echo(table.to_json(orient="records", indent=1))
    else:
        click.echo(table.to_csv(index=False), nl=False)


def _texts(
    model: "Model", prompt: str, count: int, writing: Writing, seed: int, target: Path | None, form: str
) -> None:
    texts = (model.write(prompt, writing, seed, number) for number in range(count))
    shown = prompt if model.task.continues else ""
    if target:
        target.mkdir(parents=True, exist_ok=True)
        for number, pieces in enumerate(texts):
            path = target / f"{number:0{len(str(count - 1))}}.txt"
            path.write_text(shown + "".join(pieces), encoding="utf-8")
        click.echo(f"wrote {count:,} text{'s' if count > 1 else ''} to {target}/", err=True)
    elif form == "json":
        print_json([{"prompt": prompt, "text": "".join(pieces)} for pieces in texts])
    else:
        for number, pieces in enumerate(texts):
            click.echo("" if number == 0 else "-" * 40 + "\n", nl=False)
            click.echo(shown, nl=False)
            _stream(pieces)


def _stream(pieces: Iterator[str]) -> str:
    """Print pieces of a text as they come; return the text."""
    written = []
    for piece in pieces:
        click.echo(piece, nl=False)
        written.append(piece)
    click.echo()
    return "".join(written)


def _converse(model: "Model", writing: Writing, seed: int) -> None:
    """Write what follows each line of the user and all before it, to the end of the input."""
    shown = "> " if sys.stdin.isatty() else ""
    prompt = written = ""
    for number in counting():
        click.echo(shown, nl=False, err=True)
        line = sys.stdin.readline()
        if not line:
            return
        prompt = model.task.resumed(prompt, written, line)
        written = _stream(model.write(prompt, writing, seed, number))
