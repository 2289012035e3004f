"""The sockets of the lane: connections are accepted, bytes are read and written. What they mean is for their handlers.

listeners.py           listening sockets
socket_transports.py   all connected sockets: whose each is, which have something to write
socket_transport.py    one connected socket
protocol_handler.py    what a transport asks of the handler of its bytes
loopback.py            connections within one machine
"""
