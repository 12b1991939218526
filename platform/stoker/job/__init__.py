"""The settings of a job as typed sections, and the tables of tasks, families, formats and datasets."""
