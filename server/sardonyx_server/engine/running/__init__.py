"""One version that serves: threads that take batches from its queue, run them and see to the answers.

How many threads there are is decided at load, in loading/runners.py.

    model.py           a version: its sessions, its queue, its runners
    lane_thread.py     the thread that takes all requests in, and runs what is little
    facts.py           what is known of it since it was loaded
    execution.py       one batch: gather the inputs, run, scatter the outputs
    ordering.py        answers in the order of the requests
    ending.py          when a session that serves no more is freed
"""
