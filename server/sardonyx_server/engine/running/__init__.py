"""A loaded model version: the threads that take batches from its queue, run them and send the answers.

The number of threads is decided at load, in loading/runners.py.

    model.py           a version: its sessions, its queue, its runners
    lane_thread.py     the thread that receives all requests, and runs small batches
    model_info.py      facts recorded at load: provider, runners, timings
    execution.py       one batch: gather the inputs, run, scatter the outputs
    ordering.py        reorder buffer: answers in the order of the requests
    deferred_close.py  when to free a session that is no longer used
"""
