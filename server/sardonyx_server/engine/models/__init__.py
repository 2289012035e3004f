"""Which models are served, in which state, and when that changes. Loads none itself: that is loading/.

registry.py        known models, and the route from a request to its model, read without a lock
lookup_errors.py   the error for a request whose model is unknown or not ready
states.py          lifecycle states of versions
desired_models.py  desired state: which models on disk the operator wants served
lifecycle.py       reconciliation, loads and unloads, in order on one thread
versions.py        loading, swapping and unloading of a model's versions
draining.py        draining of versions that were replaced or unloaded
"""
