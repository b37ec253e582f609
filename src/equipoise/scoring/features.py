"""Image features: computed once an image, and given to the model again whatever the prompt, option or strength.

What steers acts in the text backbone alone, so what the model makes of an image before that is always the same. It is
taken where the model itself takes it: from its ``get_image_features``, or without one (Mllama) from the first module
that is handed the pixels. How a batch's features follow from those of its images is tried out on the model's own
prologue (all that comes before the backbone); where nothing gives the same, features are computed in every pass.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, Literal

import torch
from torch import Tensor

from ..models import LoadedModel
from ..tasks import PLACEHOLDER, Picture
from .layout import marked_text
from .prologue import Place, agree, called, entering, first_to_see, ordinary, replaced, tensors
from .sight import Sight, assemble, look, pixels

MAX_BYTES = 1 << 30
"""Features that are kept for one model; beyond it those used longest ago are computed again."""

# What get_image_features returns beside the features, and forward passes don't read.
_UNREAD = ("last_hidden_state", "hidden_states", "attentions", "vision_outputs", "qformer_outputs")

Row = tuple[Sequence[int], Sight]
Rows = Sequence[Row]


@dataclass(frozen=True)
class Plan:
    """How features are kept.

    Attributes:
        unit: whether those of each image are, or only those of all images of a prompt together.
        lists: lists of a batch are those of its images one after the other, not one of joined entries.
        lean: only what forward passes read is kept.
    """

    unit: Literal["image", "prompt"]
    lists: bool
    lean: bool


class ImageFeatures:
    """The image features of one model. Get it by :func:`image_features`."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._bytes = 0
        self._plans: dict[str, Plan | None] = {}
        self._weights: Any = None
        self._from: list[Place] | None = None
        self.computed = 0  # how often the vision part ran

    def plan(self, ids: Sequence[int], sight: Sight) -> Plan | None:
        """How features of prompts of this kind are kept; None if they have to be computed in every pass."""
        self._forget_if_changed()
        if sight.kind not in self._plans:
            with ordinary():
                self._plans[sight.kind] = self._find_plan((ids, sight))
                self._drop_tried()
        return self._plans[sight.kind]

    @contextmanager
    def given(self, rows: Rows) -> Iterator[None]:
        """The model's vision part gives the features of these rows, whatever it is called with."""
        plan = self.plan(*rows[0])
        if plan is None:
            yield
            return
        with self._giving(rows, plan):
            yield

    def inputs(self, rows: Rows) -> dict[str, Tensor]:
        """The model's inputs for these rows, with their pixels only if its forward looks at them."""
        return _inputs(self._loaded, rows, known=self.plan(*rows[0]) is not None)

    def whole_inputs(self, rows: Rows, *, padding: int = 0) -> dict[str, Tensor]:
        """The model's inputs for these rows, padded on the left and with all pixels, as its ``generate`` takes them.

        That may come to its features by another way than its forward does (BLIP-2), so it gets the pixels.
        """
        return _inputs(self._loaded, rows, known=False, left=True, padding=padding)

    def _of(self, rows: Rows, plan: Plan) -> list[Any]:
        found = []
        for ids, sight in rows:
            if plan.unit == "prompt":
                key = tuple(image.digest for image in sight.images)
                found.append(self._features(key, partial(_itself, (ids, sight)), plan))
                continue
            for image in sight.images:
                found.append(self._features((image.digest,), partial(_alone, self._loaded, image), plan))
        return found

    def _features(self, key: tuple[str, ...], row: Callable[[], Row], plan: Plan) -> Any:
        place = (plan, *key)
        if place not in self._kept:
            self._kept[place] = self._seen([row()], lean=plan.lean)[0]
            self.computed += 1
            self._bytes += _size(self._kept[place])
            while self._bytes > MAX_BYTES and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= _size(dropped)
        self._kept.move_to_end(place)
        return self._kept[place]

    def _find_plan(self, row: Row) -> Plan | None:
        rows = [row, row]
        _, wanted = self._seen(rows, lean=False)
        if wanted is None:
            return None
        units: tuple[Literal["image", "prompt"], ...] = ("image", "prompt")
        for unit, lean, lists in product(units, (True, False), (True, False)):
            plan = Plan(unit, lists, lean)
            with suppress(Exception):  # shapes that don't fit are an answer too
                with self._giving(rows, plan):
                    inputs = _inputs(self._loaded, rows, known=True)
                    found = entering(self._loaded, inputs)
                if agree(found, wanted):
                    return plan
        return None

    def _drop_tried(self) -> None:
        """Forget features that were made for plans that aren't followed."""
        followed = set(self._plans.values())
        for place in [place for place in self._kept if place[0] not in followed]:
            self._bytes -= _size(self._kept.pop(place))

    @contextmanager
    def _giving(self, rows: Rows, plan: Plan) -> Iterator[None]:
        joined = _join(self._of(rows, plan), plan)
        with replaced(self._places(rows[0]), lambda _: lambda *args, **kwargs: joined):
            yield

    def _seen(self, rows: Rows, *, lean: bool) -> tuple[Any, list[Tensor] | None]:
        """What the vision part gives for these rows, and what then enters the backbone."""
        given: list[Any] = []

        def listening(before: Any) -> Any:
            def call(*args: Any, **kwargs: Any) -> Any:
                output = before(*args, **kwargs)
                given.append(output)  # the outermost call ends last
                return output

            return call

        with ordinary():
            inputs = _inputs(self._loaded, rows, known=False)
            with replaced(self._places(rows[0]), listening):
                entered = entering(self._loaded, inputs)
        found = given[-1] if given else None
        return (_lean(found) if lean else found), entered

    def _places(self, row: Row) -> list[Place]:
        """Where the model takes image features from: objects and the names of what they call."""
        if self._from is None:
            model = self._loaded.model
            inputs = _inputs(self._loaded, [row], known=False)
            named = [(m, "get_image_features") for m in model.modules() if hasattr(m, "get_image_features")]
            if called(self._loaded, inputs, named):
                self._from = named
            else:
                self._from = first_to_see(self._loaded, inputs, row[1].pixels)
        return self._from

    def _forget_if_changed(self) -> None:
        """Other weights before the backbone, in other places or changed in place, give other features."""
        own = {id(p) for p in self._loaded.anatomy.backbone.parameters()}
        before = [p for p in self._loaded.model.parameters() if id(p) not in own]
        now = [(p.data_ptr(), 0 if p.is_inference() else p._version, p.dtype) for p in before]
        if now != self._weights:
            self._kept.clear()
            self._plans.clear()
            self._bytes, self._weights = 0, now


def image_features(loaded: LoadedModel) -> ImageFeatures:
    """The features of this model's images, the same object for everybody who asks."""
    found = vars(loaded).get("_image_features")
    if found is None:
        # Kept by the loaded model, as its cached properties are, and gone with it.
        found = vars(loaded)["_image_features"] = ImageFeatures(loaded)
    return found


def _itself(row: Row) -> Row:
    return row


def _alone(loaded: LoadedModel, image: Picture) -> tuple[list[int], Sight]:
    """A prompt of nothing but this image."""
    return look(loaded, marked_text(loaded, PLACEHOLDER + "a"), [image])


def _inputs(
    loaded: LoadedModel, rows: Rows, *, known: bool, left: bool = False, padding: int = 0
) -> dict[str, Tensor]:
    ids, sights = [row[0] for row in rows], [row[1] for row in rows]
    given = None if known else [pixels(loaded, sight) for sight in sights]
    return assemble(ids, sights, given, device=loaded.device, dtype=loaded.dtype, left=left, padding=padding)


def _join(parts: Sequence[Any], plan: Plan) -> Any:
    """The features of several rows or images as the model itself would give them for all at once."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(list(parts))
    if isinstance(first, list | tuple):
        if plan.lists and first and all(isinstance(one, Tensor) for one in first):
            return type(first)([one for part in parts for one in part])
        return type(first)([_join(column, plan) for column in zip(*parts, strict=True)])
    if hasattr(first, "items"):
        return type(first)(**{name: _join([part[name] for part in parts], plan) for name in list(first)})
    return first


def _lean(output: Any) -> Any:
    if not hasattr(output, "items"):
        return output
    unread = _UNREAD if output.get("pooler_output") is not None else ("hidden_states", "attentions")
    return type(output)(**{name: value for name, value in output.items() if name not in unread})


def _size(value: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors(value))
