"""Live candles in the terminal: what is known (plain), how it is drawn (plain), and the screen with its keys."""
