from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stoker.datasets.fields.inference import Roles, holds_image_paths, image_files, infer_roles
from stoker.datasets.records import Files, Records, table
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.task import TASKS, Kind, TaskName


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "row": np.arange(100),
            "user_id": rng.permutation(100) * 7,
            "paid": rng.permutation(100) * 7,
            "height": rng.normal(size=100),
            "colour": ["red", "green"] * 50,
            "member": [True, False] * 50,
            "name": [f"n{number}" for number in range(100)],
            "country": ["here"] * 100,
            "empty": [None] * 100,
            "seen": [1.0, None] * 50,
            "label": ["x", "y"] * 50,
        }
    )


def infer(records: Records | pd.DataFrame, task: TaskName = "tabular-classification", **columns: object) -> Roles:
    records = records if isinstance(records, Records) else table(records, "label")
    return infer_roles(records, Dataset.model_validate({"source": "data", "columns": columns}), TASKS[task])


def of_kind(roles: Roles, kind: Kind) -> list[str]:
    return [name for name, found in roles.inputs.items() if found == kind]


def test_columns_are_divided_into_numbers_and_categories(frame: pd.DataFrame):
    roles = infer(frame)
    assert of_kind(roles, "number") == ["paid", "height", "seen"]
    assert of_kind(roles, "category") == ["colour", "member"]
    assert list(roles.inputs) == ["paid", "height", "seen", "colour", "member"]
    assert roles.target == "label"


def test_each_useless_column_has_a_note(frame: pd.DataFrame):
    assert infer(frame).notes == (
        "column 'row' is left out: it numbers the rows",
        "column 'user_id' is left out: it names the rows",
        "column 'name' is left out: 100 different texts in 100 rows; name it in dataset.columns.types to keep it",
        "column 'country' is left out: every row has the same value",
        "column 'empty' is left out: it is empty",
    )


def test_a_column_that_the_job_names_is_kept(frame: pd.DataFrame):
    assert of_kind(infer(frame, features=("row", "country")), "number") == ["row"]
    typed = infer(frame, types={"row": "category", "name": "category"})
    assert of_kind(typed, "category") == ["row", "colour", "member", "name"]
    assert of_kind(infer(frame, types={"name": "text"}), "text") == ["name"]


def test_a_column_with_another_role_is_no_input(frame: pd.DataFrame):
    roles = infer(frame, weight="paid", group="colour", drop=("seen",))
    assert of_kind(roles, "number") == ["height"]
    assert of_kind(roles, "category") == ["member"]


def test_a_table_without_a_usable_column_is_reported(frame: pd.DataFrame):
    with pytest.raises(JobError) as caught:
        infer(frame[["country", "label"]])
    (problem,) = caught.value.problems
    assert problem.path == "dataset.columns.features"
    expected = "no column is left to predict from: column 'country' is left out: every row has the same value"
    assert problem.message == expected


class TestTexts:
    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(
            {"title": ["a", "b"], "review": ["a long review", "another one"], "stars": [1, 2], "label": ["x", "y"]}
        )

    def test_the_longest_text_is_the_input(self):
        roles = infer(self.frame(), "text-classification")
        assert roles.inputs == {"review": "text"}
        assert roles.notes == (
            "column 'stars' is left out: it holds no text",
            "column 'title' is left out: 'review' has longer texts; "
            "name several in dataset.columns.features to keep them",
        )

    def test_all_texts_that_the_job_names_are_inputs(self):
        roles = infer(self.frame(), "text-classification", features=("title", "review"))
        assert roles.inputs == {"title": "text", "review": "text"}

    def test_a_table_without_texts_is_reported(self):
        with pytest.raises(JobError, match="no column is left to predict from: column 'stars' is left out"):
            infer(self.frame()[["stars", "label"]], "text-classification")


class TestImages:
    def test_paths_of_images_are_images(self):
        frame = pd.DataFrame({"photo": ["a.png", "b.JPG"] * 2, "age": [4.0, 2, 9, 3], "label": list("xyxy")})
        assert infer(frame).inputs == {"age": "number", "photo": "image"}
        roles = infer(frame, "image-classification")
        assert roles.inputs == {"photo": "image"}
        assert roles.notes == ("column 'age' is left out: it holds no paths of images",)

    def test_other_words_are_no_images(self):
        assert holds_image_paths(pd.Series(["a.png", None, "x/b.webp"]))
        assert not holds_image_paths(pd.Series(["a.png", "png"]))
        assert not holds_image_paths(pd.Series([1, 2]))
        assert not holds_image_paths(pd.Series([None, None]))
        assert not holds_image_paths(pd.Series([], dtype=object))

    def test_a_declared_kind_that_does_not_fit_the_task_is_left_out(self):
        frame = pd.DataFrame({"photo": ["a.png", "b.png"], "age": [4.0, 2.0], "label": ["x", "y"]})
        roles = infer(frame, "image-classification", types={"age": "number"})
        assert roles.inputs == {"photo": "image"}
        assert roles.notes == ("column 'age' is left out: the task does not learn from a number",)

    def test_a_mask_is_the_target_and_no_image(self):
        pixels, masks = np.zeros((2, 3, 3, 1), np.uint8), np.zeros((2, 3, 3), np.uint8)
        records = Records({"image": pixels, "mask": masks}, "mask")
        roles = infer(records, "segmentation")
        assert (roles.inputs, roles.target) == ({"image": "image"}, "mask")
        labelled = Records({"image": pixels, "mask": masks, "label": pd.Series(["x", "y"])}, "label")
        roles = infer(labelled, "image-classification")
        assert (roles.inputs, roles.target) == ({"image": "image"}, "label")
        assert roles.notes == ("column 'mask' is left out: masks do not fit the task",)

    def test_samples_without_a_label_have_no_target(self):
        assert infer(Records({"image": np.zeros((2, 3, 3, 1), np.uint8)}, "label"), "image-generation").target == ""


class TestImageFiles:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "data" / "deep").mkdir(parents=True)
        (tmp_path / "secret.png").touch()
        (tmp_path / "data" / "a.png").touch()
        (tmp_path / "data" / "deep" / "b.png").touch()
        return tmp_path / "data"

    @pytest.fixture
    def problem(self, folder: Path) -> Callable[[object], str]:
        def of(value: object) -> str:
            with pytest.raises(JobError) as caught:
                image_files(pd.Series(["a.png", value]), "photo", folder)
            (found,) = caught.value.problems
            assert found.path == "dataset.source"
            return found.message

        return of

    def test_paths_are_relative_to_the_table(self, folder: Path):
        files = image_files(pd.Series(["a.png", "deep/b.png", "deep/../a.png"]), "photo", folder)
        assert isinstance(files, Files)
        assert [path.resolve() for path in files.paths] == [
            folder / "a.png", folder / "deep" / "b.png", folder / "a.png",
        ]  # fmt: skip
        assert files.names()[1] == "deep/b.png"

    def test_images_in_memory_are_unchanged(self, folder: Path):
        pixels = np.zeros((2, 3, 3, 1), np.uint8)
        assert image_files(pixels, "photo", folder) is pixels

    @pytest.mark.parametrize(
        "value", ["../secret.png", "deep/../../secret.png", "{parent}/secret.png", "{parent}/data/a.png"]
    )
    def test_a_path_outside_of_the_folder_is_refused(self, folder: Path, problem, value: str):
        value = value.format(parent=folder.parent)
        expected = (
            f"row 2, column 'photo': '{value}' is outside of '{folder}'; paths are relative to the table's folder"
        )
        assert problem(value) == expected

    def test_a_link_to_outside_of_the_folder_is_refused(self, folder: Path, problem):
        (folder / "link.png").symlink_to(folder.parent / "secret.png")
        (folder / "links").symlink_to(folder.parent)
        for value in ("link.png", "links/secret.png"):
            assert "is outside of" in problem(value)

    def test_a_link_within_the_folder_is_followed(self, folder: Path):
        (folder / "link.png").symlink_to(folder / "a.png")
        assert len(image_files(pd.Series(["link.png"]), "photo", folder)) == 1

    def test_a_folder_that_is_a_link_itself_is_read(self, folder: Path):
        (folder.parent / "other").symlink_to(folder)
        assert len(image_files(pd.Series(["a.png"]), "photo", folder.parent / "other")) == 1

    @pytest.mark.parametrize("value", ["no.png", "deep", "a.png/b.png", "", "nul\0.png", "long" * 300 + ".png"])
    def test_a_path_without_a_file_is_reported(self, folder: Path, problem, value: str):
        assert problem(value) == f"row 2, column 'photo': no file '{folder / value}'"

    def test_cyclic_links_are_refused(self, folder: Path, problem):
        (folder / "round.png").symlink_to(folder / "round.png")
        assert problem("round.png").startswith("row 2, column 'photo': ")

    def test_a_missing_path_is_reported(self, problem):
        assert problem(None) == "row 2, column 'photo': there is no path"


@pytest.mark.parametrize("split", [{"column": "kind"}, {"time": "kind"}])
def test_the_column_of_a_split_is_no_input_unless_it_is_named(frame: pd.DataFrame, split: dict[str, str]):
    frame = frame.assign(kind=frame["height"])
    dataset = Dataset.model_validate({"source": "data", "split": split})
    row = TASKS["tabular-classification"]
    assert "kind" not in infer_roles(table(frame, "label"), dataset, row).inputs
    named = dataset.model_copy(update={"columns": dataset.columns.model_copy(update={"features": ("kind",)})})
    assert infer_roles(table(frame, "label"), named, row).inputs == {"kind": "number"}


def test_a_named_column_of_numbers_is_read_as_texts_with_a_note(frame: pd.DataFrame):
    roles = infer(frame, "text-classification", features=["height"])
    note = "column 'height' holds no texts, but numbers or the like, which are read as words"
    assert (roles.inputs, roles.notes) == ({"height": "text"}, (note,))
    assert infer(frame, "text-classification", features=["height"], types={"height": "text"}).notes == ()
    assert infer(frame, "text-classification", features=["name"]).notes == ()
