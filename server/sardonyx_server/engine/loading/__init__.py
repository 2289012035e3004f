"""One version, from its files to a model that is warm. What its runs cost is found out in measuring/.

loader.py          the way of it, step by step
opening.py         files, signature, provider -> sessions
runners.py         who runs the batches: the lane itself, or how many runners with how many threads
alone.py           whether a caller that is alone has all cores
traffic.py         whether other models are asked meanwhile
warmup.py          requests that the config says to run first
"""
