"""Which data a number or an intervention came from."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable

from .item import Item
from .prompts import FreeTextItem


def fingerprint(items: Iterable[Item | FreeTextItem]) -> str:
    """SHA-256 (hex) over everything that the items say and show, in order.

    Two tasks with equal fingerprints put the same questions with the same answers; a changed word, option order,
    answer or image changes it.
    """
    digest = hashlib.sha256()
    for item in items:
        record = {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
        # The images' bytes count, not where they lie; an item without images is what it was before there were any.
        images = record.pop("images", ())
        # Likewise without a target of its own.
        if record.get("target", "") is None:
            del record["target"]
        if images:
            record["images"] = [image.digest for image in images]
        digest.update(json.dumps(record, sort_keys=True, ensure_ascii=False, default=str).encode())
        digest.update(b"\n")
    return digest.hexdigest()
