"""A run: its jobs drawn, its inputs prepared, its events played, its ledger kept."""
