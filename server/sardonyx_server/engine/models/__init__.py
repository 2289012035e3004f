"""Which models are served, in which state, and when that changes. Opens none: that is loading/.

registry.py        which models and versions there are; read by every request, without a lock
wanted.py          what lies on disk and shall be
lifecycle.py       when what is loaded and unloaded, on one thread
versions.py        what happens to the versions of a model then
drains.py          versions that finish what they had admitted
"""
