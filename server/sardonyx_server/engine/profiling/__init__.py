"""Profiles an opened model by running it: may requests be batched, and what does a run cost.

Decides nothing about batches and runners: the batch policy and loading/ use the verdict.

    probe.py             the batching probe: which runs are made, and the verdict
    synthetic_inputs.py  inputs generated from the signature
    cost_curve.py        time of a run as a function of its rows
    trial.py             the runs of the probe, and the comparison of their outputs
    run_timer.py         CPU-aware timing of runs on a shared machine, within a budget
    equivalence.py       equivalence check: are batched rows equal to single rows
    verdict.py           result of the probe
    measurement_cache.py measurements of earlier loads, by model content
"""
