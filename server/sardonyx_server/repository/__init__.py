"""Folders on disk: what models are there, what their configs say, and when that changes. Opens no model.

Reasons and error messages go out to callers, so they name files relative to the model and never by absolute path.

    scan.py          finds models under some paths
    model_folder.py        reads one model's folder
    single_file.py     reads one that is a file by itself
    filesystem.py          looks at files without trusting them
    spec.py          what was found, as plain values
    watch.py         tells when that changes
    mounts.py        which disks report changes by themselves
    model_override.py         a model that comes with a load
    referenced_files.py   which files its config may name

    files.py         a private copy of one version to load from
    hashed_content.py       the bytes of a file, in memory
    stable_file.py         opens files that must not change meanwhile
    graph.py         what its graph declares
    onnx_format.py   the parts of the file that say so
    graph_traversal.py        what lies in them at any depth
    zipmap.py        outputs that are maps, as tensors
    config.py        reads config.pbtxt
    effective_config.py     holds it against the graph, and completes it
    shapes.py        the dims and reshapes in it
    served_signature.py        the signature that comes of it, without loading
"""
