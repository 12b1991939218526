"""`cache ls` and `cache rm`: the data that was downloaded for jobs."""

import time

import click

from stoker.cli.commands.logs import parse_timeout
from stoker.cli.session import Session, examples, format_option, session_object
from stoker.cli.views.formatting import ago_text
from stoker.cli.views.tables import print_json, table_text
from stoker.datasets.cache.eviction import CachedSource, cached_sources, delete_views, size_text
from stoker.datasets.cache.views import View, source_key, views_in
from stoker.datasets.sources.schemes import open_source
from stoker.errors import JobError, NotFound

HEAD = ("source", "files", "size", "last used", "")
NUMBERS = ("files", "size", "last used")


@click.group(
    epilog=examples(
        "stoker cache ls                            what is kept, the last used first",
        "stoker cache rm s3://datasets/cifar10/     download it again next time",
        "stoker cache rm --unused-for 30d           what no job has used for 30 days",
    )
)
def cache() -> None:
    """List or delete the data that was downloaded for jobs.

    It is kept in $STOKER_CACHE, `cache:` of the config file, or the home, up to `cache_size` ($STOKER_CACHE_SIZE);
    what is unused for longest goes by itself.
    """


@cache.command(epilog=examples("stoker cache ls", "stoker cache ls -o json     sizes in bytes, times in seconds"))
@format_option
@session_object
def ls(session: Session, form: str) -> None:
    """List the sources that are kept, the last used first."""
    folder = session.settings.data_cache
    found = cached_sources(folder)
    if form == "json":
        print_json([_row(each) for each in found])
    elif not found:
        click.echo(f"nothing is kept in {folder} yet")
    else:
        now = time.time()
        rows = [
            [each.source, str(each.files), size_text(each.size), ago_text(now - each.last_used_s), _note(each)]
            for each in found
        ]
        click.echo(table_text(HEAD, rows, NUMBERS))


@cache.command(
    epilog=examples(
        "stoker cache rm s3://datasets/cifar10/",
        "stoker cache rm --unused-for 30d",
        "stoker cache rm --all",
    )
)
@click.argument("source", required=False)
@click.option("--all", "everything", is_flag=True, help="Delete all that no running process uses.")
@click.option(
    "--unused-for",
    metavar="TIME",
    callback=parse_timeout,
    help="Delete what was not used for so long: 12h, 30d.",
)
@format_option
@session_object
def rm(session: Session, source: str | None, everything: bool, unused_for: float | None, form: str) -> None:
    """Delete downloaded data; what a running process uses stays."""
    if sum([source is not None, everything, unused_for is not None]) != 1:
        raise click.UsageError("name one of SOURCE, --all and --unused-for TIME")
    folder = session.settings.data_cache
    views = views_in(folder)
    if source is not None:
        views = _of_source(views, source)
    elif unused_for is not None:
        before = time.time() - unused_for
        views = [view for view in views if view.last_used_s() < before]
    freed, kept = delete_views(folder, views)
    for name in sorted({facts.source if (facts := view.facts()) else "a download under way" for view in kept}):
        click.echo(f"kept {name}: a running process uses it", err=True)
    deleted = len(views) - len(kept)
    if form == "json":
        print_json({"deleted": deleted, "kept": len(kept), "bytes": freed, "folder": str(folder)})
    else:
        click.echo(f"deleted {deleted} of {len(views)}, {size_text(freed)} freed in {folder}")
    if kept and source is not None:
        raise click.exceptions.Exit(1)


def _of_source(views: list[View], source: str) -> list[View]:
    """Find the views of a source, by its address or by what `ls` shows of it.

    Raises:
        NotFound: nothing of it is kept.

    """
    try:
        key = source_key(open_source(source).url)
    except JobError:
        key = ""
    found = [view for view in views if view.source_key == key or ((facts := view.facts()) and facts.source == source)]
    if not found:
        raise NotFound(f"nothing of '{source}' is kept; `stoker cache ls` lists what is")
    return found


def _row(each: CachedSource) -> dict[str, object]:
    return {
        "source": each.source,
        "files": each.files,
        "bytes": each.size,
        "last_used": each.last_used_s,
        "in_use": each.in_use,
    }


def _note(each: CachedSource) -> str:
    return "in use" if each.in_use else ""
