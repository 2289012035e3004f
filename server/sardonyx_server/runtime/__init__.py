"""The runtime layer: execution providers, sessions and thread allocation. The only package that imports onnxruntime.

Independent of gRPC, queues and repositories: a model comes in as bytes or a path, and the result is a session.

    backend.py               facade for the layers above

    environment.py           installed providers, GPUs and cores of this machine
    cores.py                 CPU cores available to this process (affinity, cgroup)
    ort_import.py            imports onnxruntime
    process.py               tuning of the interpreter and of malloc

Where a model runs:

    catalogue.py             the supported execution providers
    placement.py             what a config requests, and the result
    provider_selection.py    selects providers, with a reason
    provider_options.py      options of each provider
    thread_allocation.py     divides the cores among runners and intra-op threads
    throughput.py            measures and compares the throughput of sessions
    thread_cpu_time.py       CPU time of a thread

How it runs:

    session.py               opens a model
    native_session.py        onnxruntime's InferenceSession and its options
    tuning.py                session parameters: threads, arena, graph optimisation
    session_signature.py     inputs and outputs as onnxruntime reports them
    ort_session.py           an open model
    run_functions.py         ways to run a session: plain, OrtValue, IO binding
    error_messages.py        sanitises error messages of onnxruntime

Shared memory:

    posix_memory.py          POSIX shared memory
    cuda_memory.py           CUDA shared memory
    cuda_libraries.py        CUDA's libraries, loaded with ctypes
"""

__all__: list[str] = []
