"""The runtime layer: execution providers, sessions and the split of cores. The only package that imports onnxruntime.

Knows no gRPC, no queues and no repositories; a model comes in as bytes or a path and goes out as a session.

    backend.py         what the layers above need of onnxruntime, in one object

    environment.py     what this machine offers
    cores.py           how many cores this process may use
    ort_import.py         brings onnxruntime into the process
    process.py         what is set of a process that serves

Where a model runs:

    catalogue.py       the providers this server knows
    placement.py       what a config asks for
    provider_selection.py       the choice, with its reason
    provider_options.py         options of each provider
    thread_allocation.py          runners and threads, by measurement
    throughput.py           how often sessions run; two of them in turn
    thread_cpu_time.py        what a thread has had of a core

How it runs:

    session.py         opens a model
    native_session.py         onnxruntime's two steps to that
    tuning.py          threads, arena, graph level
    session_signature.py        inputs and outputs as onnxruntime reports them
    ort_session.py         one opened model
    run_functions.py         arrays into it and out of it
    error_messages.py         what onnxruntime says when it fails

Memory that clients share:

    posix_memory.py    of this machine
    cuda_memory.py     of a GPU
    cuda_libraries.py  CUDA's own libraries
"""

__all__: list[str] = []
