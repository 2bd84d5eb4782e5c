"""Values that every part shares: exact numbers, trades, bars, intervals, id ranges. No clock, no I/O, no Trio."""
