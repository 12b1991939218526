import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from stoker.datasets.loading import load_dataset
from stoker.execution.sweeps.sharing import from_shared, to_shared
from stoker.job.dataset import Dataset
from stoker.job.task import TASKS


def test_streamed_shards_stay_shards_for_every_trial(tmp_path: Path):
    for shard in range(5):
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as archive:
            for number in range(6):
                picture = io.BytesIO()
                Image.fromarray(np.full((4, 4), number, np.uint8)).save(picture, "png")
                for extension, content in {"png": picture.getvalue(), "cls": b"ab"[number % 2 :][:1]}.items():
                    entry = tarfile.TarInfo(f"{number}.{extension}")
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
    dataset = Dataset.model_validate({"source": str(tmp_path), "loading": "streaming"})
    data = load_dataset(dataset, TASKS["image-classification"])
    again = from_shared(to_shared(data))
    for name, part in data.parts.items():
        assert again.parts[name].shards == part.shards
        assert set(part.shards) == {6}
        assert again.parts[name].ids.tolist() == part.ids.tolist()
