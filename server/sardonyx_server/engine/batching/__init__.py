"""The request queue of a model and its dynamic batcher: admission, batch formation, load shedding.

job.py             a queued request, or a part of one that is larger than a batch
queue.py           the queue itself: put and take under one lock, waking of runners
pending.py         jobs that wait, by priority level and bucket
admission.py       admission control: which requests are accepted, and the error for the others
batcher.py         batch formation: which jobs make the next batch, and when it is due
idle_runners.py    condition variable that chooses which idle runner to wake
policy.py          batching and queue limits of a model, read from its config
byte_budget.py     limit on bytes shared by all queues
batch.py           jobs that run together, and why the batch was closed
drop_policy.py     load shedding at dequeue: deadline passed, call cancelled, queue timeout
run_times.py       estimate of the time of one run
service_rate.py    estimate of the rate at which a backlog is served, for the queue delay
reservations.py    queue slots reserved for requests whose message is still being received
in_flight.py       batches in flight, and which thread runs the next one
"""
