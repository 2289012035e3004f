"""What an opened model can do, found out by running it: may rows share a run, and what does a run cost.

Decides nothing about batches and runners: policy and loading/ go by the verdict.

    probe.py           what is tried, and what follows
    synth.py           inputs made up for that
    trial.py           the runs
    agreement.py       whether rows together are rows apart
    verdict.py         what came of it
    findings.py        what was measured, remembered by content
"""
