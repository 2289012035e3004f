"""Flow control (RFC 9113, section 5.2): how much may be sent before the other side says more.

inflow.py    by callers
outflow.py   to whom we send: what is held back meanwhile
held.py      how much that is on all connections, and may be
"""
