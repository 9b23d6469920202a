"""One trial in one process, with Keras.

A trial and a data set come in, the figures of a record and the model go out.
"""
