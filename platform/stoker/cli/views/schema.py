"""The documentation of a key of the job file as text."""

from typing import TYPE_CHECKING

from stoker.cli.views.tables import fields_text, styled, table_text

if TYPE_CHECKING:
    from stoker.jobfile.documentation import KeyDocument, KeyLine


def key_text(document: "KeyDocument") -> str:
    """Return the documentation of a key."""
    facts = fields_text([("type", document.type), ("default", document.default)])
    example = "\n".join(f"  {line}" for line in document.example.splitlines())
    blocks = [styled(document.path, "cyan"), document.documentation, facts, f"Example:\n{example}"]
    if document.keys:
        blocks.append(f"Keys:\n{_key_table(document.keys)}")
    for choice in document.choices:
        keys = tuple(line for line in choice.keys if line.type != choice.name)  # the tag repeats the name
        blocks.append(f"{styled(choice.name, 'cyan')}: {choice.documentation}\n{_key_table(keys)}".rstrip())
    return "\n\n".join(filter(None, blocks))


def _key_table(lines: "tuple[KeyLine, ...]") -> str:
    rows = [[f"  {line.name}", line.type, line.default, line.documentation] for line in lines]
    return table_text(["  key", "type", "default", "meaning"], rows) if rows else ""
