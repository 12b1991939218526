"""What a job says: its settings, the tables of what exists, and the way from YAML to both."""
