"""Which concept an eraser is given: labels that follow from the items, for the tasks that there are."""

from dataclasses import replace

import pytest
from interventions.samples import model
from vlms import picture

from equipoise.errors import InputError
from equipoise.methods.concept import labelled
from equipoise.methods.contrast import Contrast
from equipoise.tasks import Coreference, Item, Pronouns, pictures
from equipoise.tasks.task import subsample


def some(task: Pronouns | Coreference) -> list[Item]:
    return subsample([item for item in task.split(0).train if item.part == "ambiguous"], 24, seed=0)


def test_pronouns_are_labelled_by_the_favoured_pronoun() -> None:
    loaded, items = model("Llama"), some(Pronouns())
    found = labelled(loaded, items, "auto")
    assert found.concept == "option" and found.classes == (" he", " she")
    for item, row, label in zip(items, found.rows, found.labels.tolist(), strict=True):
        assert item.options[item.outcomes.index("pro")] == found.classes[label]
        assert loaded.tokenizer.decode(row) == item.prompt
    assert 0 < found.labels.sum() < len(items)


def test_coreference_is_labelled_by_which_mention_fits() -> None:
    loaded, items = model("Llama"), some(Coreference())
    found = labelled(loaded, items, "auto")
    assert found.concept == "mention" and found.classes == ("first", "later")
    for item, label in zip(items, found.labels.tolist(), strict=True):
        favoured = item.options[item.outcomes.index("pro")].strip()
        other = item.options[item.outcomes.index("anti")].strip()
        text = str(item.prompt)
        assert (text.index(favoured) > text.index(other)) == bool(label)
    # Order is counterbalanced, so the concept isn't decided by the prompt's wording.
    assert found.labels.float().mean() == pytest.approx(0.5, abs=0.01)


def test_statements_serve_every_task() -> None:
    loaded, items = model("Llama"), some(Coreference())
    found = labelled(loaded, items, "statement")
    assert found.classes == ("anti", "pro") and len(found.rows) == 2 * len(items)
    ends = [loaded.tokenizer.decode(row) for row in found.rows]
    assert ends[0].rstrip(".").endswith(items[0].options[items[0].outcomes.index("anti")])
    with pytest.raises(InputError, match="share their options"):
        labelled(loaded, items, "option")


def test_items_with_images_need_a_model_that_sees() -> None:
    loaded, items = model("Llama"), some(Pronouns())
    seen = replace(items[0], prompt=f"<image> {items[0].prompt}", images=pictures([picture(0)]))
    for read in (lambda: Contrast.of(loaded, [*items, seen]), lambda: labelled(loaded, [seen], "option")):
        with pytest.raises(InputError, match="takes no images"):
            read()
