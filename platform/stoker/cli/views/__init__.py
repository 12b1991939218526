"""What the commands print: tables, progress, outcomes and errors, as text and as JSON."""
