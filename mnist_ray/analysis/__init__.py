"""From records to answers: tables, comparisons and findings.

Records and their space come in, Arrow tables and sentences go out.
"""
