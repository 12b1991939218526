"""How mistakes look."""

from stoker.cli.views.errors import asks_for_json, job_error_text, show_unexpected_error
from stoker.errors import JobError, Problem


def test_problems_stand_in_columns():
    problems = [
        Problem("architecture.channles", "unknown key; did you mean 'channels'?", 4, 3, "jobs/cifar.yaml"),
        Problem("training.optimizer.lr", "'fast' is not a number (example: 3e-4)", 14, 11, "jobs/cifar.yaml"),
        Problem("task", "required", 1, 1, "jobs/cifar.yaml"),
    ]
    assert job_error_text(JobError(problems, "jobs/cifar.yaml")).splitlines() == [
        "jobs/cifar.yaml: 3 problems",
        "   4:3   architecture.channles  unknown key; did you mean 'channels'?",
        "  14:11  training.optimizer.lr  'fast' is not a number (example: 3e-4)",
        "   1:1   task                   required",
    ]


def test_another_files_name_is_shown():
    problems = [Problem("task", "wrong", 1, 1, "base.yaml"), Problem("name", "wrong", 2, 1, "job.yaml")]
    lines = job_error_text(JobError(problems, "job.yaml")).splitlines()
    assert lines[1].startswith("  base.yaml:1:1  task")
    assert "job.yaml" not in lines[2]


def test_a_problem_without_a_place_has_no_empty_columns():
    assert job_error_text(JobError([Problem("", "is not YAML")], "job.yaml")) == "job.yaml: 1 problem\n  is not YAML"
    assert job_error_text(JobError([Problem("", "no such setting")])) == "error: no such setting"


def test_the_lines_of_a_long_message_stay_in_its_column():
    lines = job_error_text(JobError([Problem("task", "first\nsecond", 1, 1)], "job.yaml")).splitlines()
    assert lines[1].index("first") == lines[2].index("second")


def test_json_is_recognised_before_parsing():
    assert asks_for_json(["ls", "-o", "json"])
    assert asks_for_json(["ls", "--format=json", "--wrong"])
    assert asks_for_json(["-ojson"])
    assert not asks_for_json(["predict", "--output", "json"])
    assert not asks_for_json(["status", "json"])


def test_the_unforeseen_is_one_line(capsys):
    show_unexpected_error(ValueError("odd"), as_json=False)
    assert capsys.readouterr().err == "internal error: ValueError: odd; set STOKER_DEBUG=1 for the traceback\n"


def test_what_the_system_refuses_is_no_internal_error(capsys):
    show_unexpected_error(PermissionError(13, "Permission denied", "/root/x"), as_json=False)
    assert capsys.readouterr().err == "error: cannot use /root/x: Permission denied\n"
