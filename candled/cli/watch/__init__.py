"""Live candles in the terminal: a plain model, plain drawing, and the screen with its keys."""
