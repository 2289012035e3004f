"""The load generator of ``sardonyx bench`` and bench/: loads any server of the protocol and measures latencies.

It works without this server. The workers speak HTTP/2 through the client's own implementation.

Workload:

    loops.py             open and closed loops, and the target
    arrivals.py          arrival times of an open loop
    messages.py          requests with random data, made from a signature
    input_discovery.py   finds input shapes that a model accepts

Sending:

    worker_pool.py       the worker processes
    worker.py            one worker process
    sender.py            its open and closed loop
    calls.py             its requests in flight
    connections.py       its connections, and waiting for them
    connection.py        one non-blocking connection

Results:

    histogram.py         latency histogram of a worker
    counters.py          counters of a worker
    latencies.py         percentiles
    report.py            the result of a run
    rate_search.py       searches for the highest rate
    slo_search.py        the highest rate that meets an SLO
    compare.py           compares two servers in alternating runs
"""
