"""Which models are served, in which state, and when that changes. Opens none: that is loading/.

registry.py        which models there are, and which answers a request: read by each, without a lock
why_not.py         what a caller hears where none does
states.py          the versions of a model, and in which state each is
wanted.py          what lies on disk and shall be
lifecycle.py       when what is loaded and unloaded, on one thread
versions.py        what happens to the versions of a model then
drains.py          versions that finish what they had admitted
"""
