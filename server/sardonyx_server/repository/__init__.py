"""The model repository: finds models on disk, reads their configs and watches for changes. Loads no model.

Reasons and error messages are shown to callers, so they name files relative to the model, never by absolute path.

Finding models:

    scan.py               finds models under given paths
    model_folder.py       reads the folder of one model
    single_file.py        a model that is a single .onnx file
    filesystem.py         safe access to untrusted files and folders; fingerprints
    spec.py               the result: model specs, as plain values
    watch.py              watches for changes
    mounts.py             detects network file systems
    model_override.py     config and files uploaded with a load call
    referenced_files.py   which files an uploaded config may reference

Reading a version:

    files.py              a private copy of the files of one version
    hashed_content.py     the bytes of a file in memory, with their SHA-256
    stable_file.py        opens files and detects concurrent changes
    graph.py              inputs and outputs that the graph declares
    onnx_format.py        a minimal ONNX parser
    graph_traversal.py    visits nodes and tensors of nested graphs
    zipmap.py             replaces ZipMap outputs by tensors
    config.py             parses config.pbtxt
    effective_config.py   validates the config against the graph and completes it
    shapes.py             dims and reshape of one tensor
    served_signature.py   the signature of a model, without loading it
"""
