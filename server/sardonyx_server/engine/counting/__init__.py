"""What is noted while requests are served: numbers of all, timelines of some. engine/statistics.py sums the numbers up.

counters.py        answers and batches, counted by the thread that gives them
failures.py        failures, by reason
sampling.py        which requests are traced
tracing.py         the timeline of one of them
"""
