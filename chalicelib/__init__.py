"""Slipway's control plane, room by room.

Imports make some hundred thousand objects that all stay. Python's collector looks through them for rubbish after every
700 new ones, which is a seventh of a cold start, so here it looks more seldom.
"""

import gc

gc.set_threshold(50_000, 10, 10)
