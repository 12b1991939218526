import gzip
import os
from pathlib import Path

import pytest

from stoker.datasets.formats.format_inference import infer_format
from stoker.datasets.inspection import inspect, inspect_elsewhere
from stoker.job.dataset import Columns, Dataset
from stoker.job.task import TaskName

TABLE: TaskName = "tabular-classification"
IMAGES: TaskName = "image-classification"
MASKS: TaskName = "segmentation"
TEXTS: TaskName = "text-classification"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


VALUES = "write a value for each column, and quotes around one that holds a line break"
OBJECT = 'such as {"text": "...", "label": 1}'


def found(source: str, task: TaskName = TABLE, **settings: object) -> list[str]:
    dataset = Dataset.model_validate({"source": source, **settings})
    return [f"{problem.path} {problem.message}" for problem in inspect(None, dataset, task)]


def write(name: str, content: str | bytes = "") -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def test_good_data_have_no_problem():
    write("train.csv", "path,label\na,1\n")
    assert found("train.csv", columns={"label": "label", "features": ["path"], "types": {"path": "category"}}) == []
    assert found("iris") == []
    for name in ("cats/1.png", "dogs/1.JPG"):
        write(f"images/{name}")
    assert found("images", IMAGES) == []
    write("mnist/train-images-idx3-ubyte.gz", gzip.compress(b"\0\0\x08\x03\0\0"))
    assert found("mnist", IMAGES) == []


def test_a_missing_column_is_reported_with_the_existing_ones():
    write("train.csv", "path;label\na;1\n")
    columns = {"label": "lable", "features": ["path", "size"], "drop": ["x"], "weight": "w", "types": {"pth": "number"}}
    there = "in train.csv (columns: path, label)"
    assert found("train.csv", columns=columns) == [
        f"dataset.columns.label no column 'lable' {there}; did you mean 'label'?",
        f"dataset.columns.weight no column 'w' {there}",
        f"dataset.columns.features.1 no column 'size' {there}",
        f"dataset.columns.drop.0 no column 'x' {there}",
        f"dataset.columns.types.pth no column 'pth' {there}; did you mean 'path'?",
    ]


def test_the_label_of_a_table_must_be_given():
    write("train.tsv", "path\tlabel\na\t1\n")
    assert found("train.tsv") == [
        "dataset.columns.label required: the column of train.tsv to predict (columns: path, label)"
    ]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"", "'a.csv' is empty"),
        ("a.csv", b"x,y\n", "'a.csv' has a header but no rows"),
        ("a.csv", b"x,y,x\n1,2,3\n", "'a.csv' has more than one column 'x'"),
        ("a.csv", b"x,y\n1\n", f"the first row of 'a.csv' has 1 values, its header 2; {VALUES}"),
        (
            "a.csv",
            b"x,y\n\x81,2\n",
            "cannot read 'a.csv': it is not UTF-8 text (line 2, byte 0x81); "
            "name its encoding in dataset.encoding, such as latin-1",
        ),
        ("a.csv.gz", b"x,y\n1,2\n", "'a.csv.gz' holds a broken gzip file; pack it again"),
        (
            "a.csv.gz",
            gzip.compress(b"x,y\n1,2\n" * 99, mtime=0)[:12],
            "'a.csv.gz' holds a broken gzip file; pack it again",
        ),
        ("a.parquet", b"PAR1", "'a.parquet' is not a parquet file"),
        ("a.jsonl", b"", "'a.jsonl' is empty"),
        ("a.jsonl", b"\n \n", "'a.jsonl' is empty"),
        ("a.jsonl", b"1\n", f"line 1 of 'a.jsonl' is not an object with keys, {OBJECT}"),
        (
            "a.jsonl",
            b'\n{"x": 1\n',
            "line 2 of 'a.jsonl' is not JSON (Expecting ',' delimiter at column 1); correct or remove it",
        ),
        (
            "a.jsonl",
            b'{"x": "\xff"}\n',
            "cannot read 'a.jsonl': it is not UTF-8 text (line 1, byte 0xff); "
            "name its encoding in dataset.encoding, such as latin-1",
        ),
        ("a.jsonl.gz", b'{"x": 1}\n', "'a.jsonl.gz' holds a broken gzip file; pack it again"),
        (
            "a.data",
            b"x",
            "the name 'a.data' does not identify the format; "
            "set dataset.format to one of csv, jsonl, parquet, conll, squad, text, parallel, idx, npz, "
            "image-folder, image-mask, image-text, coco-captions, voc, coco, coco-masks, yolo, webdataset",
        ),
    ],
)
def test_a_broken_file_is_detected_by_its_first_bytes(name: str, content: bytes, expected: str):
    write(name, content)
    assert found(name, columns={"label": "y"}) == [f"dataset.source {expected}"]


def test_a_first_row_with_a_long_text_is_fine_until_all_of_it_is_read():
    write("a.csv", b"x,y\n" + b"long " * 40_000 + b",2\n")
    assert found("a.csv", columns={"label": "y"}) == []


def test_a_parquet_file_is_checked_by_its_schema():
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"x": [1], "y": [2]}), "a.parquet")
    assert found("a.parquet", columns={"label": "y"}) == []
    assert found("a.parquet", columns={"label": "yy"}) == [
        "dataset.columns.label no column 'yy' in a.parquet (columns: x, y)"
    ]
    parquet.write_table(pyarrow.table({"x": pyarrow.array([], "int64"), "y": pyarrow.array([], "int64")}), "b.parquet")
    assert found("b.parquet", columns={"label": "y"}) == ["dataset.source 'b.parquet' has columns but no rows"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("digts", "'digts' is neither a built-in dataset nor a path; did you mean 'digits'?"),
        (
            "zzz",
            "'zzz' is neither a built-in dataset nor a path; "
            "built in are xor, iris, wine, breast-cancer, diabetes, sensors, digits, digit-pairs, shapes, shape-boxes, "
            "python-library, instructions, who-has-what, shapes-captions, keyword-documents",
        ),
        ("data/train.csv", "'data/train.csv' does not exist (looked in the current folder)"),
        ("/nowhere/train.csv", "'/nowhere/train.csv' does not exist (looked in /)"),
        ("data/*.csv", "no file matches 'data/*.csv' (looked in the current folder)"),
        ("s4://bucket/x", "'s4://' is unknown; did you mean 's3://'?"),
        ("s3://", "'s3://' names no bucket; write s3://BUCKET/PREFIX/ or s3://BUCKET/KEY"),
        ("a\0b", "a path cannot hold a NUL character"),
    ],
)
def test_a_missing_source_is_reported(source: str, expected: str):
    assert found(source) == [f"dataset.source {expected}"]


def test_file_and_folder_are_not_mixed_up():
    write("a.csv", "x,y\n1,2\n")
    write("b/notes.md", "x,y\n1,2\n")
    assert found("b", IMAGES, format="npz") == ["dataset.source 'b' is a folder; npz is one file"]
    assert found("b", TEXTS, format="text") == []
    assert found("b", format="csv") == ["dataset.source there are no csv files in the folder 'b'"]
    assert found("a.csv", IMAGES, format="image-folder") == [
        "dataset.source 'a.csv' is a file; image-folder is a folder with a folder for each class"
    ]
    assert found("a.csv", MASKS, format="image-mask") == [
        "dataset.source 'a.csv' is a file; image-mask is a folder with folders images/ and masks/"
    ]
    assert found("b", IMAGES) == [
        "dataset.source 'b' holds neither idx files, nor a folder of images for each class, nor images/ and masks/, "
        "nor boxes as VOC, COCO or YOLO have them"
    ]
    Path("c").mkdir()
    assert found("c", IMAGES) == ["dataset.source the folder 'c' is empty"]


@pytest.mark.parametrize("source", ["parts", "parts/*.csv", "parts/a*"])
def test_only_the_first_file_of_a_table_is_checked(source):
    write("parts/a.csv", "x,y\n1,2\n")
    write("parts/b.csv", "x,y\n3,4\n")
    assert found(source, columns={"label": "y"}) == []
    assert found(source, columns={"label": "z"}) == ["dataset.columns.label no column 'z' in a.csv (columns: x, y)"]


@pytest.mark.parametrize(
    "source", ["s3://bucket/x/", "https://host.invalid/x.csv", "hf://datasets/team/pets", "http://localhost:1/x.csv"]
)
def test_only_the_address_of_a_remote_source_is_checked(source):
    assert found(source) == []


def test_a_format_that_does_not_fit_the_task_is_reported_with_those_that_do():
    write("a.txt", "one\n")
    assert found("a.txt", IMAGES) == [
        "dataset.source 'a.txt' is text, which does not fit image-classification; "
        "use csv or jsonl or parquet or idx or npz or image-folder or webdataset"
    ]
    assert "use csv or jsonl or parquet or npz or image-mask" in found("a.txt", MASKS)[0]


def test_the_first_table_of_a_folder_is_checked():
    write("b/1.csv", "x,y\n1,2\n")
    write("b/2.csv", "x,y\n1,2\n")
    assert found("b", columns={"label": "y"}) == []
    assert found("b", columns={"label": "z"}) == ["dataset.columns.label no column 'z' in 1.csv (columns: x, y)"]


def test_columns_of_a_file_without_a_header_are_those_of_the_job():
    write("a.csv", "1,2\n")
    assert found("a.csv", columns={"label": "y", "names": ["x", "y"]}) == []
    assert found("a.csv", columns={"label": "y", "names": ["x", "z", "y"]}) == [
        f"dataset.source the first row of 'a.csv' has 2 values, its header 3; {VALUES}"
    ]


def test_the_keys_of_the_first_line_are_the_columns():
    write("a.jsonl", '{"text": "x", "stars": 1}\n{"other": 1}\n')
    assert found("a.jsonl", TEXTS, columns={"label": "stars"}) == []
    assert found("a.jsonl", TEXTS, columns={"label": "star"}) == [
        "dataset.columns.label no column 'star' in a.jsonl (columns: text, stars); did you mean 'stars'?"
    ]


def test_masks_are_in_a_folder_beside_their_images():
    write("pairs/images/1.png")
    write("pairs/masks/1.png")
    assert found("pairs", MASKS) == []
    write("parts/train/images/1.png")
    write("parts/train/masks/1.png")
    write("parts/test/images/1.png")
    assert found("parts", MASKS) == []
    write("alone/images/1.png")
    assert found("alone", MASKS, format="image-mask") == [
        "dataset.source 'alone' has no folders images/ and masks/, nor have its parts"
    ]


def test_boxes_are_in_the_folders_of_voc_or_yolo_or_beside_a_json_of_coco():
    boxes: TaskName = "object-detection"
    write("voc/JPEGImages/1.jpg")
    write("voc/Annotations/1.xml")
    write("yolo/images/train/1.jpg")
    write("yolo/labels/train/1.txt")
    write("coco/captions_train.json", "{}")
    write("coco/train.json", '{"images": [], "annotations": [], "categories": [{"id": 1, "supercategory": "a"}]}')
    for name in ("voc", "yolo", "coco", "coco/train.json"):
        assert found(name, boxes) == []
        assert "which does not fit segmentation; use csv or" in found(name, MASKS)[0]
        assert infer_format(name) == name.partition("/")[0]
    assert found("coco/train.json", boxes, format="yolo") == [
        "dataset.source 'coco/train.json' is a file; yolo is a folder with folders images/ and labels/"
    ]


def test_images_need_two_folders():
    write("one/cats/1.png")
    write("one/notes/readme.txt")
    assert found("one", IMAGES) == ["dataset.source only one class, 'cats', in 'one'; a classification needs two"]
    write("split/train/cats/1.png")
    write("split/train/dogs/1.png")
    write("split/val/cats/1.png")
    write("split/val/dogs/1.png")
    assert found("split", IMAGES) == []
    Path("split/test").mkdir()
    assert found("split", IMAGES) == [
        "dataset.source no folder of images in 'split/test'; each class has its own folder"
    ]


def test_idx_files_are_recognised_by_their_first_bytes():
    write("mnist/train-images-idx3-ubyte", b"\x89PNG....")
    assert found("mnist", IMAGES) == [
        f"dataset.source '{Path('mnist/train-images-idx3-ubyte')}' is not an idx file of bytes: it begins with 89504e47"
    ]
    write("mnist/train-images-idx3-ubyte", b"")
    assert "begins with nothing" in found("mnist", IMAGES)[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_the_columns_of_a_csv_file_are_known_in_each_dialect(encoding: str):
    write("a.csv", "'größe';'y'\n'1;5';'ja'\n'2';'für'\n".encode(encoding))
    assert found("a.csv", columns={"label": "y"}) == []
    assert found("a.csv", columns={"label": "z"}) == [
        "dataset.columns.label no column 'z' in a.csv (columns: größe, y)"
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_reported():
    write("a.csv", "x,y\n1,2\n")
    Path("a.csv").chmod(0)
    assert found("a.csv") == ["dataset.source no permission to read 'a.csv'"]


def test_the_format_is_inferred_from_the_name():
    names = {
        "a.csv": "csv",
        "a.CSV.gz": "csv",
        "a.tsv": "csv",
        "a.tsv.gz": "csv",
        "a.jsonl": "jsonl",
        "a.jsonl.gz": "jsonl",
        "a.ndjson": "jsonl",
        "a.parquet": "parquet",
        "a.txt": "text",
        "a.npz": "npz",
        "t10k-labels-idx1-ubyte.gz": "idx",
        "a": None,
    }
    assert {name: infer_format(name) for name in names} == names


def test_validation_and_reader_agree_on_folders(tmp_path: Path):
    for name in ("car", "bus", "train"):  # a class may have the name of a part
        image = tmp_path / "vehicles" / name / "1.png"
        image.parent.mkdir(parents=True)
        image.touch()
    for part in ("training", "validation"):
        for name in ("cats", "dogs"):
            image = tmp_path / "pets" / part / name / "1.png"
            image.parent.mkdir(parents=True)
            image.touch()
    for folder in ("vehicles", "pets"):
        dataset = Dataset.model_validate({"source": str(tmp_path / folder)})
        assert inspect(None, dataset, "image-classification") == []


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["train-images-idx3-ubyte"], "idx"),
        (["images/1.png", "masks/1.png"], "image-mask"),
        (["train/images/1.png", "train/masks/1.png"], "image-mask"),
        (["images/1.png", "labels/1.png"], "image-folder"),
        (["train/cats/1.png", "test/cats/1.png"], "image-folder"),
        (["train.csv", "dev.tsv"], "csv"),
        (["a.parquet"], "parquet"),
        (["a.jsonl", "readme.txt"], "jsonl"),
        (["a.jsonl", "a.csv"], None),
        (["a.txt", "b.txt"], "text"),
        (["a.txt", "notes.md"], None),
    ],
)
def test_the_format_of_a_folder_is_inferred_from_its_files(files: list[str], expected: str | None):
    for name in files:
        write(f"data/{name}")
    assert infer_format("data") == expected


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.csv").write_text("x,y\n1,a\n2,b\n")
    dataset = Dataset.model_validate({"source": "~/a.csv", "columns": {"label": "y"}})
    assert inspect(None, dataset, "tabular-classification") == []


def test_a_path_missing_on_this_machine_may_exist_on_a_cluster(tmp_path):
    def found(source):
        dataset = Dataset(source=str(source), columns=Columns(label="b"))
        return inspect_elsewhere(None, dataset, "tabular-classification")

    assert found("/nowhere/at/all.csv") == []
    assert found("s3://bucket/train.csv") == []
    assert "names no bucket" in found("s3://")[0].message
    assert "does not exist" in found("nowhere.csv")[0].message
    (tmp_path / "t.csv").write_text("a,c\n1,2\n")
    assert "no column 'b'" in found(tmp_path / "t.csv")[0].message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a\tb\n1\t2\n3\t4\n", "csv"),
        ("a,b,c\n1,2,3\n4,5,6\n", "csv"),
        ("One, two.\nThree, four.\nFive, six.\n", "text"),
        ("A tale, of two, cities\nby a writer\nof novels, and so on\n", "text"),
        ("", "text"),
    ],
)
def test_a_text_file_with_equal_rows_is_a_table(tmp_path: Path, content: str, expected: str):
    path = tmp_path / "a.txt"
    path.write_text(content)
    assert infer_format(path) == expected


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("a.xlsx", "save the sheet as csv"),
        ("a.pkl", "save it as parquet"),
        ("a.zip", "unpack it, and name the folder"),
        ("job.yaml", "it is no data; of a job, name what its dataset.source"),
    ],
)
def test_a_file_of_another_program_is_reported_with_the_cure(tmp_path: Path, name: str, cure: str):
    path = tmp_path / name
    path.write_text("content")
    dataset = Dataset.model_validate({"source": str(path), "columns": {"label": "y"}})
    (problem,) = inspect(None, dataset, "tabular-classification")
    assert problem.message.startswith(f"'{name}' cannot be read: {cure}")
