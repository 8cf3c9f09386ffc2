"""The words that all rooms share: jobs, decisions, operating points, profiles, observations, ledger rows."""
