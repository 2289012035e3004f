"""Folders on disk: what models are there, what their configs say, and when that changes. Opens no model.

``scan`` finds models, ``config`` reads config.pbtxt, ``effective`` holds it against the graph and completes it,
``files`` takes private copies to load from, ``watch`` tells when something changed. Reasons and error messages go out
to callers, so they name files relative to the model and never by absolute path.
"""
