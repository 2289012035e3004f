"""What an opened model can do, found out by running it: may rows share a run, and what does a run cost.

Decides nothing about batches and runners: policy and loading/ go by the verdict.

    probe.py           what is tried, and what follows
    synth.py           inputs made up for that
    curve.py           what a run costs by the rows in it
    trial.py           the runs
    stopwatch.py       what they took, on a machine that others use as well
    agreement.py       whether rows together are rows apart
    verdict.py         what came of it
    findings.py        what was measured, remembered by content
"""
