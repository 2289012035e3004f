"""Loads one model version: from its files to a warmed-up model. Its runs are measured in profiling/.

loader.py          the steps of a load, in order
load_context.py    files, signature, provider -> sessions
runners.py         inline on the lane, or how many runners with how many threads
latency_session.py whether sequential requests run on all cores, in a session of their own
traffic.py         whether other models get requests meanwhile
warmup.py          warm-up requests from the config
"""
