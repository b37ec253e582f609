"""Logits of llama.cpp for given tokens: run by an interpreter that has llama-cpp-py-sync, and nothing of ours.

    python llamacpp.py MODEL.gguf REQUEST.json OUT.bin

REQUEST has "rows" (lists of tokens), "texts" to tokenise, and perhaps "control": {"block": [d numbers]}. OUT gets fp32
logits, rows after one another; standard output a JSON object with the shape, the tokens of the texts and the release.
"""

import json
import struct
import sys

from llama_cpp_py_sync import __version__
from llama_cpp_py_sync._cffi_bindings import ffi, get_lib


def library():
    """The package's own llama.cpp, which needs a recent glibc; or xllamacpp's of the same days, which does not."""
    try:
        from xllamacpp import xllamacpp
    except ImportError:
        return get_lib(), __version__
    return ffi.dlopen(xllamacpp.__file__), f"{__version__} (xllamacpp)"


def main(model_path: str, request_path: str, out_path: str) -> None:
    lib, release = library()
    with open(request_path, encoding="utf-8") as stream:
        request = json.load(stream)
    lib.llama_backend_init()
    model = lib.llama_model_load_from_file(model_path.encode(), lib.llama_model_default_params())
    if model == ffi.NULL:
        sys.exit("llama.cpp can't load the model")
    vocab = lib.llama_model_get_vocab(model)
    size, width = lib.llama_vocab_n_tokens(vocab), lib.llama_model_n_embd(model)
    blocks = lib.llama_model_n_layer(model)
    texts = []
    for text in request.get("texts", []):
        data = text.encode()
        room = ffi.new("int32_t[]", len(data) + 8)
        n = lib.llama_tokenize(vocab, data, len(data), room, len(data) + 8, False, True)
        texts.append([room[i] for i in range(n)])
    with open(out_path, "wb") as out:
        for row in request["rows"]:
            params = lib.llama_context_default_params()
            params.n_ctx = params.n_batch = params.n_ubatch = max(64, len(row))
            params.n_threads = params.n_threads_batch = 1
            context = lib.llama_init_from_model(model, params)
            if request.get("control"):
                # As llama.cpp's own programs do: [blocks - 1, width] from block 1 on.
                data = ffi.new("float[]", width * (blocks - 1))
                for block, values in request["control"].items():
                    for i, value in enumerate(values):
                        data[width * (int(block) - 1) + i] = value
                assert lib.llama_set_adapter_cvec(context, data, width * (blocks - 1), width, 1, blocks) == 0
            batch = lib.llama_batch_init(len(row), 0, 1)
            batch.n_tokens = len(row)
            for i, token in enumerate(row):
                batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, 1
                batch.seq_id[i][0] = 0
            assert lib.llama_decode(context, batch) == 0
            for i in range(len(row)):
                out.write(bytes(ffi.buffer(lib.llama_get_logits_ith(context, i), 4 * size)))
            lib.llama_batch_free(batch)
            lib.llama_free(context)
    print(json.dumps({"vocabulary": size, "texts": texts, "release": release}))


if __name__ == "__main__":
    assert struct.calcsize("f") == 4
    main(*sys.argv[1:])
