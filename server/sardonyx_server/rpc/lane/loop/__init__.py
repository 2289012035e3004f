"""The lane's thread: waits for all sockets and for tasks of others, sets models to work, and sees the clock.

loop.py         the loop, which is the host of connections and calls
events.py       waiting for sockets and for tasks of other threads
burst.py        what has come together goes to the models together
deadlines.py    what ends at a point in time
open_calls.py   how many calls are open, and who waits until none is
"""
