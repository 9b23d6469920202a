"""What is still to run, in which order, and how long it takes.

A space and the records come in, a plan goes out. It depends on nothing else.
"""
