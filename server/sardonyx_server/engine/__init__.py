"""From a request's bytes to the model's answer: signature, queue, batches, models and their states.

No gRPC and no onnxruntime here: numpy, the wire contract and the standard library.

The seams:

    call.py            towards the transport: who waits for an answer
    session.py         towards the runtime: what an opened model can do

A request, in this order:

    intake.py          bytes -> the model's queue, or why not
    registry.py        which models there are, and in which state
    signature.py       what a model takes and gives; checks requests against it
    header_check.py    names, datatypes, shapes, rows
    parameters.py      parameters of requests and tensors
    plan.py            what follows from a header, concluded once
    contents.py        what is not plain numbers in the message -> tensors
    model.py           one version: its sessions, its queue, its runners
    job.py             the request while it waits
    queue.py           waits, and is taken with others as a batch
    batch.py           jobs that run together
    drops.py           jobs that are not run, for nobody waits for them
    under_way.py       batches that run, and whether one has all cores
    policy.py          the numbers that the queue goes by
    budget.py          bytes that all queues share
    run_times.py       how long a batch takes just now
    execution.py       gather, run, scatter
    outputs.py         rows of the outputs, as bytes
    rendering.py       outputs that are not simply sent
    classification.py  outputs as classes
    ordering.py        answers in the order of the requests

Memory and answers that outlive it:

    region.py          one region that a client shares
    shared_memory.py   all of them, by name
    cache.py           answers that were given before
    shared.py          one run for equal requests

What is told of it:

    counters.py        answers, counted by the thread that gives them
    failures.py        failures, by reason
    statistics.py      sums of both, for metrics and ModelStatistics
    sampling.py        which requests are traced
    tracing.py         the timeline of one of them

Which models are served:

    wanted.py          what lies on disk and shall be
    lifecycle.py       when what is loaded and unloaded, on one thread
    versions.py        what happens to the versions of a model then
    drains.py          versions that finish what they had admitted
    priority.py        loading takes only the time that serving leaves; the lane's turns
    traffic.py         whether models are asked meanwhile

Loading one version:

    loading.py         from its files to a model that is warm
    opening.py         files, signature, provider -> sessions
    probe.py           may rows share a run, and what does a run cost
    synth.py           inputs made up for that
    trial.py           the runs
    agreement.py       whether rows together are rows apart
    verdict.py         what came of it
    runners.py         who runs the batches, with how many threads
    alone.py           whether a caller that is alone has all cores
    findings.py        what was measured, remembered by content
    facts.py           what is known of a version since
    warmup.py          requests that the config says to run first
"""
