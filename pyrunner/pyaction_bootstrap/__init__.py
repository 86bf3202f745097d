"""What the runner does in Python: load a function, call it, report what became of it.

pyrunner (C) compiles these modules in and calls `handle.handle` once for each line that the proxy sends.
They run before and beside the user's code, at every cold start: they import nothing that the interpreter
has not loaded anyway (no json, re, typing, inspect, traceback) unless a case needs it.
"""
