import json
from pathlib import Path

import pytest
from click import unstyle

ROWS = [("größe", "y"), *((f"{number % 7}", "ja" if number % 2 else "für") for number in range(40))]


def write(path: Path, delimiter: str, encoding: str, quote: str) -> Path:
    lines = [delimiter.join(f"{quote}{value}{quote}" for value in row) for row in ROWS]
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


@pytest.mark.parametrize(
    ("name", "delimiter", "encoding", "quote", "expected"),
    [
        ("a.csv", ";", "cp1252", "", "read as: ';' separated, cp1252, quoted by \""),
        ("a.csv", ",", "utf-16", '"', "read as: ',' separated, utf-16, quoted by \""),
        ("a.tsv", "\t", "utf-8", "", 'read as: tab separated, utf-8, quoted by "'),
        ("a.csv", ",", "utf-8", "'", "read as: ',' separated, utf-8, quoted by '"),
        ("a.csv", ",", "utf-8-sig", '"', "read as: ',' separated, utf-8, quoted by \""),
    ],
    ids=["cp1252", "utf-16", "tab", "single-quoted", "usual"],
)
def test_what_was_found_out_of_a_csv_file_is_shown(
    stoker, tmp_path, capsys, name, delimiter, encoding, quote, expected
):
    path = write(tmp_path / name, delimiter, encoding, quote)
    assert stoker("data", path) == 0
    shown = unstyle(capsys.readouterr().out).splitlines()
    guess = "of 'y', which is a guess: --label names another column"
    assert shown[:2] == [f"40 samples for tabular-classification {guess}; 33 duplicates", expected]
    assert [line.split()[:2] for line in shown[4:6]] == [["größe", "number"], ["y", "category"]]
    assert stoker("data", path, "-o", "json") == 0
    assert f"read as: {json.loads(capsys.readouterr().out)['dialect']}" == expected
    job = tmp_path / "a.yaml"
    job.write_text(f"task: tabular-classification\ndataset: {{source: {path}, columns: {{label: y}}}}\n")
    assert stoker("plan", job) == 0
    assert (f"- {expected}" in capsys.readouterr().out.splitlines()) is (encoding != "utf-8-sig")


def test_a_format_without_a_dialect_shows_none(stoker, tmp_path, capsys):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f"{json.dumps({'x': number % 7, 'y': 'ab'[number % 2]})}\n" for number in range(40)))
    assert stoker("data", path) == 0
    assert "read as" not in capsys.readouterr().out


@pytest.mark.parametrize(("text", "words"), [("", "it is empty"), ("a,b\n", "no rows in")])
def test_a_table_without_rows_is_said_to_have_none(stoker, tmp_path, capsys, text, words):
    (tmp_path / "a.csv").write_text(text)
    assert stoker("data", tmp_path / "a.csv") == 2
    assert words in capsys.readouterr().err


def test_init_writes_a_job_that_validates_and_keeps_one_that_is_there(stoker, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "rows.csv", ",", "utf-8", "")
    assert stoker("init", "rows.csv", "-o", "json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["file"], answer["task"]) == ("rows.yaml", "tabular-classification")
    assert stoker("validate", "rows.yaml") == 0
    before = (tmp_path / "rows.yaml").read_text()
    assert "columns: {label: y}" in before
    assert "# Run: stoker submit rows.yaml\n" in before
    assert stoker("init", "rows.csv") == 2
    assert "--force" in capsys.readouterr().err
    assert stoker("init", "rows.csv", "--force") == 0
    assert "stoker submit rows.yaml" in capsys.readouterr().out
    assert (tmp_path / "rows.yaml").read_text() == before


@pytest.mark.parametrize("command", ["data", "init"])
def test_a_misspelt_label_is_refused_and_a_guessed_one_told(stoker, tmp_path, capsys, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "homes.csv").write_text(
        "area,price,colour\n" + "".join(f"{i * 7 % 11},{i * 2.5},{['red', 'blue'][i % 2]}\n" for i in range(40))
    )
    assert stoker(command, "homes.csv", "--label", "prise") == 2
    assert (
        "no column 'prise' in homes.csv (columns: area, price, colour); did you mean 'price'?"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "homes.yaml").exists()
    assert stoker(command, "homes.csv") == 0
    assert "tabular-regression of 'price', which is a guess: --label names another column" in capsys.readouterr().out
    arguments = ("--force",) if command == "init" else ()
    assert stoker(command, "homes.csv", "--label", "area", *arguments) == 0
    shown = capsys.readouterr().out
    assert "of 'area'" in shown
    assert "guess" not in shown


def test_a_folder_of_parallel_texts_is_for_translation(stoker, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs").mkdir()
    for language, word in (("en", "dog"), ("de", "Hund")):
        lines = "".join(f"{word} {number}\n" for number in range(40))
        (tmp_path / "pairs" / f"corpus.{language}").write_text(lines)
    assert stoker("data", "pairs", "--label", "de") == 0
    assert unstyle(capsys.readouterr().out).startswith("40 samples for translation")
    assert stoker("init", "pairs", "--label", "de") == 0
    capsys.readouterr()
    (job,) = tmp_path.glob("*.yaml")
    assert "task: translation  # each text in another language" in job.read_text()
    assert stoker("plan", job) == 0
    assert "encoder" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["plays.txt", "stories.csv"])
def test_texts_without_labels_are_for_text_generation(stoker, tmp_path, capsys, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    lines = [f"the king {number} loves the fool" for number in range(40)]
    (tmp_path / name).write_text("\n".join(lines if name == "plays.txt" else ["text", *lines]) + "\n")
    assert stoker("data", name) == 0
    assert "for text-generation" in unstyle(capsys.readouterr().out).splitlines()[0]
    assert stoker("init", name) == 0
    job = f"{Path(name).stem}.yaml"
    assert "label" not in (tmp_path / job).read_text()
    capsys.readouterr()
    assert stoker("plan", job) == 0
    assert "tokens      " in capsys.readouterr().out
    assert stoker("init", name, "--task", "fill-mask", "--force") == 0
    assert stoker("plan", job) == 0
    assert "fill-mask: transformer" in capsys.readouterr().out
