"""One request against its model: validation, decoding of inputs, serialization of the answer. Never blocks.

Inputs:

    signature.py         a model's inputs and outputs; the only check of requests against them
    header_validation.py names, datatypes, shapes, rows
    parameters.py        parameters of requests and tensors
    plan.py              request plan: all that follows from a header, computed once
    input_decoding.py    payloads other than plain raw numbers -> tensors: typed contents, strings, shared memory
    lazy_strings.py      large string tensors, decoded when the model runs

Outputs:

    outputs.py           slicing of a run's outputs by rows
    rendering.py         outputs as classes, or in shared memory
    classification.py    top classes of an output
"""
