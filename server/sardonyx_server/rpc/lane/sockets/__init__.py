"""The sockets of the lane: accepts connections, reads and writes bytes, which protocol handlers interpret.

listeners.py           listening sockets
socket_transports.py   all connected sockets: their handlers, and which have output
socket_transport.py    one connected socket
tls_handshakes.py      TLS handshakes of accepted sockets, on a thread of their own
tls_socket.py          a socket with TLS
tls_transport.py       a connected socket with TLS, in the event loop
protocol_handler.py    interface of the handler of a transport
loopback.py            congestion control of connections within one machine
"""
