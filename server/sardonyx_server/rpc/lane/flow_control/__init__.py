"""Flow control of HTTP/2 (RFC 9113, section 5.2): how much either side may send before the other allows more.

inflow.py        what clients may send: the windows that we grant
outflow.py       what we may send: queues behind the windows of the peer, and backpressure from the socket
send_budget.py   how many unsent bytes there are on all connections, and may be
"""
