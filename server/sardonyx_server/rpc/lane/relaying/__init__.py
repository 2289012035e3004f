"""All methods but inference: frames of the caller go on to the stock server, and its frames come back.

relays.py         the caller's side of them
relayed.py        one stream that is relayed
relay.py          a connection to the stock server
stock_reader.py   bytes of that -> frames
back_door.py      where that listens
stopped.py        what is heard of it while it stops
host.py           what relaying wants of the lane
"""
