"""Records of trials and the place where they lie: the only state of a sweep.

Records come in when trials end, and go out by their key.
"""
