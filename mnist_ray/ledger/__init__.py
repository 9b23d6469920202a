"""Records of trials and the folder that holds them: the only state of a sweep.

Records come in when trials end, and go out by their key.
"""
