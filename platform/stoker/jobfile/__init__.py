"""From the YAML of a job to a checked Job, with every mistake at its place, and back."""
