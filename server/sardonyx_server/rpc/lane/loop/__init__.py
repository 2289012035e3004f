"""The lane's thread: an event loop that waits for sockets and tasks, dispatches requests to models, and runs timers.

event_loop.py       the event loop
poller.py           waits for sockets and for tasks of other threads
dispatch_queue.py   collects the messages of one turn and dispatches them to the models
deadlines.py        deadline timers
open_calls.py       counts open calls, and lets threads wait until none is open
"""
