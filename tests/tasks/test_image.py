"""Images of items: known by their bytes, shown in RGB on white, and refused by name if they are none."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scoring.samples import item

from equipoise.errors import InputError
from equipoise.tasks import Picture, fingerprint, picture, pictures


def png(colour: tuple[int, ...] = (200, 30, 40), mode: str = "RGB", size: tuple[int, int] = (6, 4)) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, "PNG")
    return file.getvalue()


def test_path_bytes_and_pillow_image_are_one_picture(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    path.write_bytes(png())
    by_path, by_bytes = picture(path), picture(png())
    by_pillow = picture(Image.open(io.BytesIO(png())))
    assert by_path == by_bytes and hash(by_path) == hash(by_bytes)
    assert by_path != picture(png((200, 30, 41)))
    shown = [np.asarray(one.open()) for one in (by_path, by_bytes, by_pillow)]
    assert all(np.array_equal(one, shown[0]) and one.shape == (4, 6, 3) for one in shown)
    assert picture(by_path) is by_path


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_shows_white(mode: str) -> None:
    colour = (0, 0, 0, 0) if mode == "RGBA" else (0, 0)
    assert np.all(np.asarray(picture(png(colour, mode)).open()) == 255)
    opaque = (0, 0, 0, 255) if mode == "RGBA" else (0, 255)
    assert np.all(np.asarray(picture(png(opaque, mode)).open()) == 0)


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_and_palette_images_become_rgb(mode: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (3, 3), "white").convert(mode).save(file, "PNG")
    found = picture(file.getvalue()).open()
    assert found.mode == "RGB" and np.all(np.asarray(found) == 255)


def test_a_photograph_stands_upright(tmp_path: Path) -> None:
    left = np.zeros((4, 8, 3), dtype=np.uint8)
    left[:, :4] = 255  # white on the left; held on its side, that is the top or the bottom
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    path = tmp_path / "held.png"
    Image.fromarray(left).save(path, exif=exif)
    for source in (path, Image.open(path)):
        shown = np.asarray(picture(source).open())
        assert shown.shape == (8, 4, 3)
        assert np.all(shown[:4] == 255) and np.all(shown[4:] == 0)
    Image.fromarray(left).save(path)
    assert np.array_equal(np.asarray(picture(path).open()), left)


def test_damaged_notes_beside_an_image_are_passed_over(tmp_path: Path) -> None:
    pixels = np.full((4, 8, 3), 200, dtype=np.uint8)
    path = tmp_path / "noted.png"
    Image.fromarray(pixels).save(path, exif=b"Exif\x00\x00no header of TIFF")
    for source in (path, Image.open(path)):
        assert np.array_equal(np.asarray(picture(source).open()), pixels)


def test_a_colour_that_stands_for_transparency_shows_white() -> None:
    file = io.BytesIO()
    Image.new("RGB", (3, 3), (9, 8, 7)).save(file, "PNG", transparency=(9, 8, 7))
    assert np.all(np.asarray(picture(file.getvalue()).open()) == 255)


def refusal(source: object) -> str:
    with pytest.raises(InputError) as error:
        picture(source)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_is_no_image_is_refused_by_name(tmp_path: Path) -> None:
    text = tmp_path / "notes.png"
    text.write_text("not an image")
    assert "notes.png is no image" in refusal(text)
    assert "nowhere.png" in refusal(tmp_path / "nowhere.png")
    assert str(tmp_path) in refusal(tmp_path)
    assert "given as bytes is no image" in refusal(b"not an image")
    assert "is a int" in refusal(3)


def test_a_damaged_image_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"cut\.png: the image can't be read"):
        picture(path).open()


@pytest.mark.parametrize("mode", ["I;16", "F", "LAB"])
def test_modes_without_one_conversion_are_refused(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "deep.tiff"
    Image.new(mode, (3, 3)).save(path)
    message = refusal(path)
    assert "deep.tiff" in message and mode in message and "RGB" in message
    assert mode in refusal(Image.new(mode, (3, 3)))


def test_a_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert "exceeds limit" in refusal(png(size=(8, 8)))


def test_items_take_images_and_their_bytes_are_in_the_fingerprint(tmp_path: Path) -> None:
    a, b = tmp_path / "a.png", tmp_path / "b.png"
    a.write_bytes(png())
    b.write_bytes(png())
    one = item("<image> Who?", (" he", " she"), images=(a,))
    assert isinstance(one.images[0], Picture)
    same = item("<image> Who?", (" he", " she"), images=pictures([b]))
    other = item("<image> Who?", (" he", " she"), images=(png((0, 0, 0)),))
    bare = item("<image> Who?", (" he", " she"))
    prints = [fingerprint([each]) for each in (one, same, other, bare)]
    assert prints[0] == prints[1] and len(set(prints)) == 3
    assert one == same and one != other


def test_the_fingerprint_of_text_is_what_it_was() -> None:
    # Files name the data that they come from: a hash written before there were images still stands for it.
    bare = item("Who?", (" he", " she"))
    record = (
        '{"answer": null, "groups": ["somebody"], "id": "item 0", "metadata": {}, "options": [" he", " she"], '
        '"outcomes": ["outcome0", "outcome1"], "part": "ambiguous", "prompt": "Who?", "template": "wording", '
        '"terminator": null}\n'
    )
    import hashlib

    assert fingerprint([bare]) == hashlib.sha256(record.encode()).hexdigest()


@pytest.mark.parametrize("prompt", ["Who?", "<image> <image>", ({"role": "user", "content": "Who?"},)])
def test_every_image_needs_its_place(prompt: object) -> None:
    with pytest.raises(
        InputError, match=r"item 'item 0': has 1 images, and its prompt says <image> \d times"
    ):
        item(prompt, (" he", " she"), images=(png(),))
