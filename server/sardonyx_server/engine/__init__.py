"""The inference engine: requests in, batches run on loaded models, answers out; and the loading of models.

No gRPC and no onnxruntime here: numpy, the wire contract and the standard library. Each package lists its own files.

Interfaces:

    call.py            to the transport: a call that awaits its answer
    session.py         to the runtime: an opened model

A request passes, in this order:

    intake.py          entry point: bytes -> job in the model's queue, or an error; models/registry.py finds the model
    requests/          validation and decoding of a request, serialization of its answer
    shared_memory/     client shared memory: inputs are read from it, outputs written to it
    response_cache/    response cache and single-flight execution, for models that enable them
    batching/          queue, admission control and dynamic batching
    running/           a loaded version: its runners, and the execution of batches

Observability:

    telemetry/         counters of all requests, traces of sampled ones
    statistics.py      totals of the counters, for metrics and ModelStatistics

A load passes, in this order:

    models/            desired models, lifecycle and states of versions, registry
    loading/           loads one version: sessions, runners, warm-up
    profiling/         batching probe and cost curve of a model
    priority.py        thread priorities: loading yields to serving; time slices of the lane
"""
