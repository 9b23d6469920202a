"""Trials on Ray: the cluster, its workers, and what they hand back.

A queue of trials comes in, records go to the ledger.
"""
