"""The lane: our own HTTP/2 server for inference, on one thread, with a grpcio server behind it.

gRPC's core takes some 20 us for a call of a few bytes, whatever the method does; the lane takes 2 to 3 us. It serves
two methods. All others, and malformed headers, are forwarded to the grpcio server frame by frame.

Each package imports only from those below it:

    lane.py        the lane as a transport: listen, start, drain, stop
    loop/          its thread: event loop, dispatch to the models, deadlines
    connections/   one client's connection: frames and streams
    proxy/         reverse proxy for all other methods, to the grpcio server
    sockets/       listening, reading, writing
    calls/         ModelInfer and ModelStreamInfer, and their responses
    messages/      decodes and encodes headers, messages and responses
    flow_control/  flow control of HTTP/2, in both directions
    limits.py      limits on what clients may do

A request, from the socket to the model and back:

    sockets/socket_transport.py    reads a socket
    connections/frame_reader.py    decodes frames
    connections/connection.py      finds or opens the stream of a frame
    messages/request_headers.py    decodes the headers of the request
    calls/call.py                  one ModelInfer
    messages/message_assembly.py   assembles a message that arrives in several frames
    loop/dispatch_queue.py         collects the messages of one turn and dispatches them to the models
    calls/response_writer.py       writes the response
    messages/response_frames.py    encodes responses and errors
    flow_control/outflow.py        queues what windows and the socket do not take yet
    flow_control/send_budget.py    bounds the unsent bytes of all connections
    sockets/socket_transport.py    writes a socket
"""

__all__: list[str] = []
