"""The runtime layer: execution providers, sessions and the split of cores. The only package that imports onnxruntime.

Knows no gRPC, no queues and no repositories; a model comes in as bytes or a path and goes out as a session.

    machine.py         what the layers above need of onnxruntime, in one object

    environment.py     what this machine offers
    cores.py           how many cores this process may use
    library.py         brings onnxruntime into the process
    process.py         what is set of a process that serves

Where a model runs:

    catalogue.py       the providers this server knows
    placement.py       what a config asks for
    providers.py       the choice, with its reason
    options.py         options of each provider
    splits.py          runners and threads, by measurement
    rates.py           how often sessions run; two of them in turn
    own_time.py        what a thread has had of a core

How it runs:

    session.py         opens a model
    opening.py         onnxruntime's two steps to that
    tuning.py          threads, arena, graph level
    reported.py        inputs and outputs as onnxruntime reports them
    running.py         one opened model
    feeding.py         arrays into it and out of it
    wording.py         what onnxruntime says when it fails

Memory that clients share:

    posix_memory.py    of this machine
    cuda_memory.py     of a GPU
    cuda_libraries.py  CUDA's own libraries
"""

__all__: list[str] = []
