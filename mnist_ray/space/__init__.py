"""The search space: from a YAML file to the cells it asks for.

Text comes in, checked and typed data goes out. All errors of a file are reported at once.
"""
