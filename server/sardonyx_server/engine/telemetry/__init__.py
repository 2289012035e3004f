"""Counters of all requests, and traces of sampled ones. engine/statistics.py adds the counters up.

counters.py        answers and batches, counted without a lock by the thread that sends the answer
failures.py        errors, by reason
sampling.py        trace sampling
tracing.py         the trace of one request
"""
