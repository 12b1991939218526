"""Boxes that are found, in the JSON of COCO."""

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd


def coco_json(table: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """Return pictures, boxes with their scores, and classes.

    Args:
        table: answers, one row a picture; the column `input` has their names, where they have any.
        classes: in order; the first one has the id 1.

    """
    rows = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
    images = [
        {
            "id": number,
            "file_name": str(row.get("input", number)),
            "width": int(row["width"]),
            "height": int(row["height"]),
        }
        for number, row in enumerate(rows, 1)
    ]
    boxes = [(number, box) for number, row in enumerate(rows, 1) for box in json.loads(row["prediction"])]
    annotations = []
    for number, (image, box) in enumerate(boxes, 1):
        width, height = box["right"] - box["left"], box["bottom"] - box["top"]
        annotations.append(
            {
                "id": number,
                "image_id": image,
                "category_id": classes.index(box["class"]) + 1,
                "bbox": [box["left"], box["top"], round(width, 1), round(height, 1)],
                "area": round(width * height, 1),
                "iscrowd": 0,
                "score": box["score"],
            }
        )
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}
