"""The sockets of the lane: connections are accepted, bytes are read and written. What they mean is for their handlers.

listeners.py           listening sockets
socket_transports.py   all connected sockets: whose each is, which have something to write
socket_transport.py    one connected socket
tls_handshakes.py      with TLS: accepted sockets until their handshake is done
tls_socket.py          TLS of one of them
tls_transport.py       a connected socket with it
protocol_handler.py    what a transport asks of the handler of its bytes
loopback.py            connections within one machine
"""
