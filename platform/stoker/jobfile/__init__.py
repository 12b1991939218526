"""Reads a job file into a checked Job, reports every mistake with its position, and writes a Job as YAML."""
