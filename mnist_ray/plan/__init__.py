"""What is still to run, in which order, and how long it takes.

A space and the records come in, and a plan goes out, which depends on nothing else.
"""
