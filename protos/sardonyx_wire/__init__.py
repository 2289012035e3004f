"""The wire contract of Sardonyx and the Python that speaks it: messages, datatypes, tensors. Knows no gRPC, no server.

Import the modules (``from sardonyx_wire.messages import ModelInferRequest``): nothing is re-exported here, so that a
reader of one module does not pay for the others.

    messages.py           the messages of the .proto files, in a pool of their own; messages.pyi has their types
    datatypes.py          name, numpy's dtype, size, fields
    tensors.py            data of tensors <-> numpy
    _elements.py          those of BYTES
    bfloat16.py           BF16 <-> float32

What is said of an inference, without protobuf where it repeats:

    framing.py            fields, lengths, the id, payloads
    request_reader.py     bytes -> a request; the server's
    request_layout.py     where its parts lie, known from one before
    request_template.py   a request -> bytes; the client's
    response_reader.py    bytes -> an answer; the client's
    response_template.py  an answer -> bytes; the server's
    streams.py            answers and errors on streams -> bytes; the server's

    http2/                what both speak below that
"""

__all__: list[str] = []
