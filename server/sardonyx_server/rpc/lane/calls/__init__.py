"""What the lane answers itself: ModelInfer and ModelStreamInfer, each of them a stream of HTTP/2.

open_stream.py   any stream, as its connection sees it
call.py          one ModelInfer
stream.py        one ModelStreamInfer
incoming.py      what comes on it -> messages
replies.py       what a caller gets
host.py          what calls want of the lane
"""
