"""The agent: what runs on a host all the time and pushes logs and figures to the control plane.

It travels as one file, a zip of the host kit, this package and the `websocket` package, and needs only python3 >= 3.9.
What it promises: a follower who comes back with the last entry's cursor gets every later line exactly once, whatever
was cut, killed or rotated in between, or one entry that says what was lost.
"""
