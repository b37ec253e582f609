"""In what type a fit computes."""

from unittest import mock

import pytest
import torch
from tiny import tiny

from equipoise.methods.dso.working_copy import working_copy

FLAGS = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")


@pytest.mark.parametrize(
    ("tiles", "dots", "dtype"),
    [
        (False, False, torch.float32),
        (True, False, torch.bfloat16),
        (False, True, torch.bfloat16),
    ],
)
def test_auto_is_bf16_where_the_cpu_multiplies_it(tiles: bool, dots: bool, dtype: torch.dtype) -> None:
    loaded = tiny("Llama")
    with (
        mock.patch.object(torch.cpu, FLAGS[0], return_value=tiles, create=True),
        mock.patch.object(torch.cpu, FLAGS[1], return_value=dots, create=True),
        working_copy(loaded, "auto") as used,
    ):
        assert used.dtype == dtype
    assert loaded.dtype == torch.float32


def test_a_torch_without_these_questions_computes_in_the_models_type(monkeypatch: pytest.MonkeyPatch) -> None:
    for flag in FLAGS:
        monkeypatch.delattr(torch.cpu, flag, raising=False)
    with working_copy(tiny("Llama"), "auto") as used:
        assert used.dtype == torch.float32
