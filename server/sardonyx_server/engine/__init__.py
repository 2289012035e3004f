"""From a request's bytes to the model's answer, and from a model's files to a version that answers.

No gRPC and no onnxruntime here: numpy, the wire contract and the standard library. Each package lists its own files.

The seams:

    call.py            towards the transport: who waits for an answer
    session.py         towards the runtime: what an opened model can do

A request, in this order:

    intake.py          bytes -> the model's queue, or why not; which model, models/registry.py knows
    requests/          one request against its model: what it asks for, and how its answer looks
    shared_memory/     memory that clients share, where inputs are read and outputs written
    response_cache/    equal requests answered by one run, for models that ask for that
    batching/          waits, is dropped, or is taken with others as a batch
    running/           a version that serves: its runners, and the run of a batch

What is told of it:

    counting/          what is noted meanwhile: numbers of all requests, the timeline of some
    statistics.py      sums of the numbers, for metrics and ModelStatistics

A load, in this order:

    models/            which models are served, in which state, and when that changes
    loading/           one version, from its files to a model that is warm: sessions, runners, warm-up
    measuring/         may rows share a run, and what does a run cost
    priority.py        loading takes only the time that serving leaves; the lane's turns
"""
