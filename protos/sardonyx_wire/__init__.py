"""The wire contract of Sardonyx and its codecs: messages, datatypes, tensors. Knows no gRPC and no server.

Import the modules (``from sardonyx_wire.messages import ModelInferRequest``). Nothing is re-exported here, so importing
one module does not load the others.

    messages.py           the messages of the .proto files, in a pool of their own; messages.pyi has the types
    datatypes.py          the datatypes: name, numpy dtype, size, protobuf field
    tensors.py            tensor data <-> numpy
    _elements.py          elements of BYTES tensors
    bfloat16.py           BF16 <-> float32

Fast codecs for inference messages, which bypass protobuf for the parts that repeat:

    protobuf_fields.py    top-level protobuf fields: tags, lengths, the id, payloads
    request_reader.py     decodes requests, in the server
    request_layout.py     where the parts of a request lie, known from an earlier one
    request_template.py   encodes requests, in the client
    response_reader.py    decodes responses, in the client
    response_template.py  encodes responses, in the server
    stream_responses.py   encodes responses and errors on streams, in the server

    http2/                the parts of HTTP/2 that both share
"""

__all__: list[str] = []
