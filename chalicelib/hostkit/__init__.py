"""The host kit: the part of Slipway that runs on a Docker host, shipped there over SSH.

It is a package of small files that needs only python3 >= 3.9 and its standard library. It is installed as one folder,
`.slipway/kit-<version>/hostkit`, imported rather than run as a script, so that Python caches its bytecode: a verb then
costs its own imports and nothing else. Every verb is words plus one JSON object on stdin, and one JSON object back.
"""
