"""Requests wait for their model, are dropped if nobody waits for them, and are taken together as batches.

job.py             a request while it waits, or a part of a large one
queue.py           the lock: who puts and takes, whose turn it is, whom to wake
waiting.py         what waits, by priority and bucket
admission.py       which requests are let in, and what the others hear
cutting.py         which jobs are the next batch, and when it is due
idle.py            runners that have nothing to do, and which of them is woken
policy.py          the numbers that all of them go by
budget.py          bytes that all queues share
batch.py           jobs that run together, and why no more of them
drops.py           jobs that are not run: a deadline passed, a caller gone, a wait too long
run_times.py       how long a batch takes just now
pace.py            how soon all that waits will have been taken
places.py          places that are kept for requests on their way
under_way.py       batches that run, and whether one has all cores
"""
