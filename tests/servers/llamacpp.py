"""llama.cpp's server with all-MiniLM-L6-v2.

llamacpp.py unpack DIR       the model's folder
llamacpp.py convert DIR FILE the folder as a GGUF file, as llama.cpp's own script writes it, which would need PyTorch
llamacpp.py serve FILE PORT  until it is killed
"""

import json
import struct
import sys
import threading
import zipfile
from pathlib import Path


def unpack(folder):
    import all_minilm_l6_v2

    with zipfile.ZipFile(all_minilm_l6_v2.get_model_zip_path()) as packed:
        packed.extractall(folder)


def tensors(path):
    """Names and arrays of a safetensors file: a JSON header behind its length, then the numbers."""
    import numpy

    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    for name, about in json.loads(raw[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        if about["dtype"] == "F32":
            start, end = (8 + length + at for at in about["data_offsets"])
            yield name, numpy.frombuffer(raw[start:end], "<f4").reshape(about["shape"])


def convert(folder, file):
    import gguf

    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    ids = tokenizer["model"]["vocab"]
    special = {token["content"] for token in tokenizer["added_tokens"]}

    def piece(token):
        # llama.cpp marks the beginning of a word, BERT its continuation.
        if token in special or (token.startswith("[") and token.endswith("]")):
            return token
        return token[2:] if token.startswith("##") else "\u2581" + token

    writer = gguf.GGUFWriter(file, "bert")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_token_type_count(config["type_vocab_size"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    tokens = sorted(ids, key=ids.get)
    kinds = {True: gguf.TokenType.CONTROL, False: gguf.TokenType.NORMAL}
    writer.add_tokenizer_model("bert")
    writer.add_token_list([piece(token).encode() for token in tokens])
    writer.add_token_types([kinds[token in special] for token in tokens])
    writer.add_unk_token_id(ids["[UNK]"])
    writer.add_pad_token_id(ids["[PAD]"])
    writer.add_mask_token_id(ids["[MASK]"])
    writer.add_bos_token_id(ids["[CLS]"])
    writer.add_sep_token_id(ids["[SEP]"])
    writer.add_eos_token_id(ids["[SEP]"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, config["num_hidden_layers"])
    for name, values in tensors(folder / "model.safetensors"):
        if not name.startswith("pooler."):  # it has no part in the mean
            writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def server(file, port):
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = file
    settings.embedding = True
    settings.hostnames = ["127.0.0.1"]
    settings.port = port
    settings.ui = False
    # Two threads of its own would wait for each other by spinning, on cores that others use.
    settings.cpuparams.n_threads = 1
    return xllamacpp.Server(settings)


def serve(file, port):
    running = server(file, int(port))
    threading.Event().wait()
    del running


if __name__ == "__main__":
    {"unpack": unpack, "convert": convert, "serve": serve}[sys.argv[1]](*sys.argv[2:])
