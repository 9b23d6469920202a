"""Images: where they come from, and how they are presented to a model.

Names and paths come in, uint8 arrays go out.
"""
