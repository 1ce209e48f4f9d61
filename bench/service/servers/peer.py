"""A strong peer: ONNX Runtime behind uvicorn, with no framework and no check of what it is asked."""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import numpy as np
import onnxruntime
import orjson

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(os.path.join(os.environ["MODEL_DIR"], "model.onnx"), options)
output = session.get_outputs()[-1].name
version = os.environ["MODEL_VERSION"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Answer a row, or many."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    document = orjson.loads(body)
    single = "features" in document
    rows = np.array([document["features"]] if single else document["instances"], np.float32)
    found = session.run([output], {"X": rows})[0][:, -1].tolist()
    answer = {"prediction": found[0], "model_version": version} if single else {"predictions": found}
    text = orjson.dumps(answer)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})
