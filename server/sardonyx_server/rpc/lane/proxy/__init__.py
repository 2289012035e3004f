"""Reverse proxy for all methods except inference: forwards frames to the grpcio server, and its frames to the client.

connection_proxy.py       the client's side, for one connection of a client
proxied_stream.py         one stream that is forwarded
upstream_connection.py    a connection to the grpcio server
upstream_frame_reader.py  decodes the frames of the grpcio server
upstream.py               the socket on which the grpcio server listens
shutdown_status.py        the status of calls that are cancelled by a shutdown
host.py                   what the proxy needs of the event loop
"""
