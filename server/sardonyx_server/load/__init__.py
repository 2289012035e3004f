"""Load on any server of the protocol, and what its callers would have waited. Used by ``sardonyx bench`` and bench/.

Serves nothing and knows no server. What its senders speak is the HTTP/2 of the client's lane.

What is sent, and when:

    loops.py           what a load is, and where it goes
    arrivals.py        when requests are due
    messages.py        requests of random data, made from a signature
    fitting.py         which of them a model takes

Who sends:

    fleet.py           processes that send together
    worker.py          one of them
    sender.py          its open and its closed loop
    calls.py           its requests under way
    lines.py           its connections, and the wait for them
    polled_line.py     one of them

What came of it:

    counts.py          latencies as counts in buckets
    tally.py           what a process counts
    latencies.py       percentiles
    report.py          a run
    search.py          which rates are tried
    trials.py          the highest rate that meets an SLO
    compare.py         two servers in turns
"""
