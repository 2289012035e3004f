"""One request against its model: what it asks for, and how its answer looks. Runs nothing and keeps no one waiting.

What it asks for:

    signature.py       what a model takes and gives; the only check of requests against it
    header_check.py    names, datatypes, shapes, rows
    parameters.py      parameters of requests and tensors
    plan.py            what follows from a header, concluded once
    contents.py        what is not plain numbers in the message -> tensors: typed contents, strings, shared memory
    strings.py         many strings, decoded when the model runs

How its answer looks:

    outputs.py         what the model gave, as bytes of rows
    rendering.py       outputs that are not simply sent: classes, places in shared memory
    classification.py  outputs as classes
"""
