import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from stoker.datasets.columns import Ragged
from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.loading import load_dataset, read_source
from stoker.datasets.records import Records
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.signature import CategoriesInput, ImageInput, MaskOutput, NumbersInput, TextInput
from stoker.job.task import TASKS, TaskName

CSV = b"x,y\n1,a\n2,b\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    def written(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return written


def records_of(path: Path, **settings: Any) -> Records:
    columns = {"label": "y", **settings.pop("columns", {})}
    records, _ = read_source(Dataset.model_validate({"source": str(path), "columns": columns, **settings}))
    assert records.label == "y"
    assert records.is_table
    return records


def read(path: Path, **settings: Any) -> pd.DataFrame:
    return records_of(path, **settings).frame


def load(path: Path, task: TaskName = "tabular-classification", **settings: Any) -> LoadedDataset:
    columns = {"label": "y", **settings.pop("columns", {})}
    return load_dataset(Dataset.model_validate({"source": str(path), "columns": columns, **settings}), TASKS[task])


def problem(path: Path, **settings: Any) -> str:
    with pytest.raises(JobError) as caught:
        read(path, **settings)
    (found,) = caught.value.problems
    assert found.path == "dataset.source"
    return found.message


class TestCsv:
    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    def test_text_is_read_with_any_delimiter(self, write, delimiter: str):
        frame = read(write("a.csv", f"x{delimiter}y\n1{delimiter}a\n{delimiter}NA\n"))
        assert list(frame.columns) == ["x", "y"]
        assert frame.isna().to_numpy().tolist() == [[False, False], [True, True]]

    def test_compressed_text_is_read(self, write):
        assert read(write("a.csv.gz", gzip.compress(b"x,y\n1,2\n"))).to_numpy().tolist() == [[1, 2]]
        assert read(write("b.CSV.GZ", gzip.compress(b"x,y\n1,2\n"))).to_numpy().tolist() == [[1, 2]]

    def test_a_byte_order_mark_is_not_part_of_the_header(self, write):
        assert list(read(write("a.csv", b"\xef\xbb\xbf" + CSV)).columns) == ["x", "y"]

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_line_ends_of_any_system_are_read(self, write, end: str):
        assert read(write("a.csv", end.join(["x;y", "1;a", "2;b", ""]))).to_numpy().tolist() == [[1, "a"], [2, "b"]]

    def test_texts_may_contain_delimiters_and_newlines(self, write):
        frame = pd.DataFrame({"text": [f'a, "b",\nc; {number}' for number in range(60)], "y": list("xy") * 30})
        for delimiter in ",;\t|":
            path = write("a.csv", frame.to_csv(index=False, sep=delimiter))
            pd.testing.assert_frame_equal(read(path), frame)

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
    @pytest.mark.parametrize("quote", ['"', "'"])
    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_text_is_read_in_the_dialect_that_is_found(self, write, encoding: str, quote: str, delimiter: str):
        frame = pd.DataFrame({"größe": ["1,5 €", "2; 3", "4"] * 20, "y": [f"a{quote}b", "Fuß", ""] * 20})
        text = frame.to_csv(index=False, sep=delimiter, quotechar=quote, quoting=csv.QUOTE_ALL)
        path = write("a.csv", text.encode(encoding))
        pd.testing.assert_frame_equal(read(path).fillna(""), frame)
        name = "tab" if delimiter == "\t" else f"'{delimiter}'"
        assert records_of(path).dialect == f"{name} separated, {encoding}, quoted by {quote}"

    def test_the_plan_notes_a_dialect_other_than_the_usual_one(self, write, tmp_path: Path):
        rows = ["x;y", *(f"{number % 7};{'für' if number % 2 else 'wider'}" for number in range(40))]
        unusual = "read as: ';' separated, cp1252, quoted by \""
        data = load(write("a/1.csv", "\n".join(rows).encode("cp1252")))
        assert [note for note in data.notes if "read as" in note] == [unusual]
        usual = [row.replace(";", ",") for row in rows]
        write("a/2.csv", "\n".join(usual))
        notes = load(tmp_path / "a", split="none").notes
        assert f"{unusual}; ',' separated, utf-8, quoted by \"" in notes
        assert not any("read as" in note for note in load(tmp_path / "a" / "2.csv").notes)

    def test_a_text_may_be_long(self, write):
        text = "word " * 100_000
        assert read(write("a.csv", f"x,y\n{text},a\nshort,b\n"))["x"].str.len().tolist() == [len(text), 5]

    def test_columns_of_a_file_without_a_header_are_named_by_the_job(self, write):
        frame = read(write("a.data", "1,a\n2,b\n"), format="csv", columns={"names": ["x", "y"]})
        assert frame.to_dict("list") == {"x": [1, 2], "y": ["a", "b"]}

    def test_too_few_names_are_reported(self, write):
        path = write("a.csv", "1,2,a\n2,3,b\n")
        expected = "line 1 has 3 values, dataset.columns.names 2; name every column, or quote a value that holds ','"
        assert problem(path, columns={"names": ["x", "y"]}) == f"cannot read '{path}': {expected}"

    def test_rows_longer_than_the_header_are_reported(self, write):
        cure = "name every column, or quote a value that holds ','"
        for line, rows in ((2, "1,2,3\n4,5,6\n"), (3, "1,2\n4,5,6\n"), (5, '"1\n\n",2\n4,5,6\n')):
            path = write("a.csv", f"x,y\n{rows}")
            assert problem(path) == f"cannot read '{path}': line {line} has 3 values, the header 2; {cure}"

    def test_an_open_quote_is_reported_by_its_line(self, write):
        path = write("a.csv", 'x,y\n1,a\n2,"b\n' + "3,c\n" * 9)
        assert problem(path) == f"cannot read '{path}': line 3: the quote (\") that opens here is never closed"

    def test_an_empty_file_is_said_to_be_empty(self, write):
        path = write("a.csv", "")
        assert problem(path) == f"cannot read '{path}': it is empty"

    def test_a_repeated_header_is_reported_by_its_line(self, write):
        path = write("a.csv", 'x,y\n"1\n",a\nx,y\n2,b\n')
        assert problem(path) == f"cannot read '{path}': line 4 repeats the header; remove it"
        assert len(read(write("a.csv", "x,y\n1,a\nx,b\n"))) == 2

    def test_blanks_around_the_names_of_columns_do_not_count(self, write):
        assert list(read(write("a.csv", "x , y\t\n1,a\n")).columns) == ["x", "y"]

    def test_the_job_may_name_the_encoding(self, write):
        path = write("a.csv", "x,y\n1,\u5b57\n2,b\n".encode("shift_jis"))
        assert read(path, encoding="shift_jis")["y"].tolist() == ["\u5b57", "b"]
        path = write("a.csv", b"x,y\n1,\xff\xfe\xfd\n")
        expected = f"cannot read '{path}': it is not ascii text (line 2, byte 0xff); "
        expected += "name its encoding in dataset.encoding, such as latin-1"
        assert problem(path, encoding="ascii") == expected

    def test_values_that_a_row_lacks_are_missing(self, write):
        assert read(write("a.csv", "x,z,y\n1,2,a\n3\n"))["y"].isna().tolist() == [False, True]

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\n\n",
            b"x,y\n\xff\x81,1\n",
            b"\xff\xfex,y\n1,a",
            b'x,y\n"1,a\n2,b\n',
            b"x,y\n1,2\n3,4,5,6\n",
        ],
        ids=["empty", "blank", "bytes", "half-utf-16", "open-quote", "ragged"],
    )
    def test_invalid_csv_is_reported(self, write, content: bytes):
        path = write("a.csv", content)
        assert problem(path).startswith(f"cannot read '{path}': ")

    @pytest.mark.parametrize(
        "damage", [lambda data: data[:-9], lambda data: data[:25] + b"\xff" * 20, lambda _: b"text"]
    )
    def test_a_broken_gzip_file_is_reported(self, write, damage):
        lines = [f"{number},{number * 7 % 31}" for number in range(2000)]
        path = write("a.csv.gz", damage(gzip.compress("\n".join(["x,y", *lines]).encode())))
        assert problem(path).startswith(f"cannot read '{path}': ")


class TestJsonLines:
    def test_each_line_is_a_row(self, write):
        lines = '{"x": 1.5, "y": "a"}\n\n{"y": "b", "x": null}\n{"y": "ü", "z": true}\n'
        frame = read(write("a.jsonl", lines))
        assert list(frame.columns) == ["x", "y", "z"]
        assert frame["y"].tolist() == ["a", "b", "ü"]
        assert frame["x"].isna().tolist() == [False, True, True]
        assert frame["z"].isna().tolist() == [True, True, False]

    def test_compressed_lines_are_read(self, write):
        assert read(write("a.jsonl.gz", gzip.compress(b'{"x": 1, "y": 2}\n'))).to_numpy().tolist() == [[1, 2]]

    def test_nested_values_become_text(self, write):
        frame = read(write("a.ndjson", '{"x": [1, {"z": 2}], "y": "a"}\n'))
        assert frame["x"].tolist() == ['[1, {"z": 2}]']

    def test_a_list_of_objects_is_read_like_lines(self, write):
        rows = [{"x": 1.5, "y": "a"}, {"y": "b", "x": [1]}]
        frame = read(write("a.json", json.dumps(rows, indent=1)))
        assert frame["y"].tolist() == ["a", "b"]
        assert frame["x"].tolist() == [1.5, "[1]"]
        assert read(write("b.json", '{"x": 1, "y": 2}\n')).to_numpy().tolist() == [[1, 2]]

    def test_a_broken_list_is_reported(self, write):
        path = write("a.json", '[{"x": 1,\n "y": 2},\n')
        assert problem(path).startswith(f"cannot read '{path}': line 3 is not JSON (")
        path = write("a.json", "[1, 2]")
        assert problem(path).startswith(f"cannot read '{path}': a value of the list is not an object")

    def test_an_unpaired_surrogate_is_replaced(self, write):
        lines = [json.dumps({"text": f"cut \ud83d {word} word word", "y": word}) for word in ("good", "bad") * 10]
        data = load(write("a.jsonl", "\n".join(lines)), "text-classification")
        (field,) = data.fields.inputs
        assert isinstance(field, TextField)
        assert set(field.vocabulary.split("\n")) == {"cut", "word", "good", "bad", "?"}
        assert field.assets()["text.vocabulary.txt"].encode()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (
                '{"x": 1, "y": 2}\n{"x": 1,\n',
                "line 2 is not JSON (Expecting property name enclosed in double quotes at column",
            ),
            ('{"x": 1, "y": 2}\n\n[1, 2]\n', 'line 3 is not an object such as {"text": "...", "label": 1}'),
            ("no json\n", "line 1 is not JSON (Expecting value at column 1); correct or remove it"),
            ('{"x": ' + "[" * 100_000, "line 1 is nested too deeply"),
            (b'{"x": "\xff", "y": 1}\n', "it is not UTF-8 text (line 1, byte 0xff); name its encoding"),
        ],
    )
    def test_an_invalid_line_is_reported_with_its_number(self, write, content: str | bytes, message: str):
        path = write("a.jsonl", content)
        assert problem(path).startswith(f"cannot read '{path}': {message}")


class TestParquet:
    def test_parquet_is_read(self, tmp_path: Path):
        frame = pd.DataFrame({"x": [1.5, None], "y": ["a", "b"]}, index=[7, 8])
        frame.to_parquet(tmp_path / "a.parquet")
        pd.testing.assert_frame_equal(read(tmp_path / "a.parquet"), frame.reset_index(drop=True))

    def test_names_that_are_numbers_become_text(self, tmp_path: Path):
        frame = pd.DataFrame({"1": [1.5, 2.0], "y": ["a", "b"]})
        frame.to_parquet(tmp_path / "a.parquet")
        assert list(read(tmp_path / "a.parquet").columns) == ["1", "y"]

    @pytest.mark.parametrize("keep", [0, 10, 0.5, -4])
    def test_invalid_parquet_is_reported(self, tmp_path: Path, keep: float):
        path = tmp_path / "a.parquet"
        pd.DataFrame({"x": range(100), "y": range(100)}).to_parquet(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * keep) if keep == 0.5 else int(keep)])
        assert problem(path).startswith(f"cannot read '{path}': ")
        path.write_bytes(b"no parquet")
        assert problem(path).startswith(f"cannot read '{path}': ")

    def test_lists_in_a_table_are_left_out_with_a_note(self, tmp_path: Path):
        rng = np.random.default_rng(0)
        frame = pd.DataFrame({"x": rng.normal(size=40), "tags": [[n] for n in range(40)], "y": ["a", "b"] * 20})
        frame.to_parquet(tmp_path / "a.parquet")
        data = load(tmp_path / "a.parquet")
        assert data.spec.columns.features == ("x",)
        assert data.notes[0].startswith("column 'tags' is left out: 40 different texts")


class TestManyFiles:
    def test_the_files_of_a_folder_are_one_table(self, write, tmp_path: Path):
        for number in range(3):
            write(f"part-{number}.csv", f"x,y\n{number},a\n")
        write("notes.md", "no table")
        write(".hidden.csv", "z\n1\n")
        records = records_of(tmp_path)
        assert records.frame["x"].tolist() == [0, 1, 2]
        assert records.frame.index.tolist() == [0, 1, 2]
        assert records.parts is None

    def test_names_of_files_contain_the_parts(self, write, tmp_path: Path):
        for name, count in {"train": 3, "dev": 2, "test": 1}.items():
            write(f"{name}.tsv", "x\ty\n" + "a, b\tc\n" * count)
        records = records_of(tmp_path)
        assert records.parts is not None
        assert records.parts.tolist() == ["val"] * 2 + ["test"] + ["train"] * 3

    def test_parts_may_be_in_several_files_each(self, tmp_path: Path):
        for name in ("train-00000-of-00002", "train-00001-of-00002", "validation", "test-0"):
            pd.DataFrame({"x": [1, 2], "y": ["a", "b"]}).to_parquet(tmp_path / f"{name}.parquet")
        records = records_of(tmp_path)
        assert records.parts is not None
        assert records.parts.tolist() == ["test"] * 2 + ["train"] * 4 + ["val"] * 2

    @pytest.mark.parametrize("names", [("train", "other"), ("test", "dev"), ("trainers", "testimony")])
    def test_other_file_names_are_no_parts(self, write, tmp_path: Path, names: tuple[str, ...]):
        for name in names:
            write(f"{name}.jsonl", '{"x": 1, "y": 2}\n')
        assert records_of(tmp_path).parts is None

    def test_parts_of_the_source_are_used(self, write, tmp_path: Path):
        for name in ("train", "test"):
            rows = [f"{number}.5,{'ab'[number % 2]}" for number in range(20)]
            write(f"{name}.csv", "\n".join(["x,y", *rows]))
        data = load(tmp_path, split={"train": 0.9, "val": 0.1, "test": 0})
        assert {name: len(part) for name, part in data.parts.items()} == {"train": 18, "val": 2, "test": 20}
        assert "the source has its own train and test" in " ".join(data.notes)

    def test_columns_may_have_another_order(self, write, tmp_path: Path):
        write("1.csv", "x,y\n1,a\n")
        write("2.csv", "y,x\nb,2\n")
        assert read(tmp_path).to_numpy().tolist() == [[1, "a"], [2, "b"]]

    def test_files_of_different_columns_are_reported(self, write, tmp_path: Path):
        write("1.csv", "x,y\n1,a\n")
        write("2.csv", "x,z\n1,a\n")
        expected = f"'{tmp_path / '2.csv'}' and '1.csv' differ in their columns: y, z"
        assert problem(tmp_path) == expected

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("b.csv", b"\x81"),
            ("b.csv", b""),
            ("b.csv.gz", gzip.compress(CSV * 999, mtime=0)[:-5]),
            ("b.csv.gz", gzip.compress(CSV * 999, mtime=0)[:25] + b"\xff" * 99),
            ("b.csv.gz", CSV),
        ],
    )
    def test_the_broken_file_among_them_is_named(self, write, tmp_path: Path, name: str, content: bytes):
        write("a.csv", CSV)
        path = write(name, content)
        assert problem(tmp_path).startswith(f"cannot read '{path}': ")

    def test_a_folder_without_tables_is_reported(self, tmp_path: Path):
        assert problem(tmp_path, format="csv") == f"there are no csv files in the folder '{tmp_path}'"


class TestMixedRows:
    @pytest.fixture
    def table(self, tmp_path: Path) -> Path:
        """Forty rows of numbers, a category, a text and a path."""
        (tmp_path / "photos").mkdir()
        rng = np.random.default_rng(0)
        rows = []
        for number in range(40):
            Image.new("L", (5, 4), 5 * number).save(tmp_path / "photos" / f"{number}.png")
            text = "a long and good text" if number % 2 else "bad, bad; bad"
            rows.append({"size": rng.normal(), "colour": "rgb"[number % 3], "text": f"{text} {number}"})
            rows[-1] |= {"photo": f"photos/{number}.png", "y": "ab"[number % 2]}
        pd.DataFrame(rows).to_csv(tmp_path / "table.csv", index=False)
        return tmp_path / "table.csv"

    @pytest.mark.parametrize("loading", ["resident", "loaded"])
    def test_a_row_may_contain_numbers_categories_texts_and_images(self, table: Path, loading: str):
        data = load(table, columns={"types": {"text": "text"}}, loading=loading)
        vocabulary = data.fields.text.tokenizer.size
        assert data.fields.signature.inputs == {
            "numbers": NumbersInput(1),
            "categories": CategoriesInput((4,)),
            "text": TextInput(vocabulary, 256),
            "photo": ImageInput(1, 4, 5),
        }
        test = data.parts["test"]
        assert isinstance(test.inputs["text"], Ragged)
        batch = data.fields.gather(test, torch.arange(len(test)))
        assert {name: len(tensor) for name, tensor in batch.items()} == dict.fromkeys(batch, 4)
        pixels = test.inputs["photo"].take(torch.arange(4))[:, 0, 0, 0]
        assert pixels.tolist() == [5 * number for number in test.ids.tolist()]
        assert data.spec.columns.types == {"size": "number", "colour": "category", "text": "text", "photo": "image"}
        assert load_dataset(data.spec, TASKS["tabular-classification"]).fields == data.fields

    def test_the_example_names_its_images(self, table: Path):
        example = load(table, columns={"types": {"text": "text"}}).example
        assert isinstance(example, pd.DataFrame)
        assert list(example.columns) == ["size", "colour", "text", "photo"]
        assert example["photo"].tolist() == ["photos/0.png", "photos/1.png", "photos/2.png"]

    def test_a_table_of_paths_is_an_image_dataset(self, table: Path):
        data = load(table, "image-classification")
        assert set(data.parts["train"].inputs) == {"photo"}
        assert data.example.shape == (3, 4, 5, 1)

    @pytest.mark.parametrize("value", ["../secret.png", "{folder}/secret.png", "link.png", "photos/none.png"])
    def test_an_invalid_path_is_reported_with_its_row(self, table: Path, value: str):
        secret = table.parent.parent / f"{table.parent.name}-secret.png"
        secret.touch()
        (table.parent / "link.png").symlink_to(secret)
        frame = pd.read_csv(table)
        frame.loc[6, "photo"] = value.format(folder=table.parent)
        frame.to_csv(table, index=False)
        with pytest.raises(JobError) as caught:
            load(table, columns={"types": {"photo": "image"}})
        (found,) = caught.value.problems
        assert found.path == "dataset.source"
        assert found.message.startswith("row 7, column 'photo': ")

    def test_paths_of_masks_are_targets(self, table: Path):
        frame = pd.read_csv(table)
        for number in range(40):
            mask = np.zeros((4, 5), np.uint8)
            mask[number % 4] = 255
            Image.fromarray(mask).save(table.parent / "photos" / f"{number}-mask.png")
        frame["y"] = [f"photos/{number}-mask.png" for number in range(40)]
        frame[["photo", "y"]].to_csv(table, index=False)
        for loading in ("resident", "loaded"):
            data = load(table, "segmentation", loading=loading)
            assert data.fields.signature.output == MaskOutput(("0", "255"), 4, 5)
            train = data.parts["train"]
            assert train.target is not None
            rows = train.target.take(torch.arange(len(train))).float().mean(2).argmax(1)
            assert rows.tolist() == [number % 4 for number in train.ids.tolist()]

    def test_a_column_may_have_the_name_of_a_tensor(self, tmp_path: Path):
        rng = np.random.default_rng(0)
        frame = pd.DataFrame({"x": rng.normal(size=40), "c": list("pq") * 20, "numbers": ["one two"] * 40})
        frame = frame.assign(categories=["three four"] * 40, y=list("ab") * 20)
        frame.to_csv(tmp_path / "a.csv", index=False)
        data = load(tmp_path / "a.csv", columns={"types": {"numbers": "text", "categories": "text"}})
        shapes = data.fields.signature.inputs
        assert (shapes["numbers"], shapes["categories"]) == (NumbersInput(1), CategoriesInput((3,)))
        assert len(data.fields.signature.texts) == 2
        assert len(data.fields.gather(data.parts["train"], torch.arange(3))) == 4
