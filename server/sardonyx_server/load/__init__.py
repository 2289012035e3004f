"""Load on any server of the protocol, and what its callers would have waited. Used by ``sardonyx bench`` and bench/.

Start at ``fleet.py`` (processes that send) and ``report.py`` (what came of it). Serves nothing and knows no server.
"""
