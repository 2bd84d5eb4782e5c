"""Lies of the exchange: other values, forms, ids, orders and sizes than the market's. Plain: text in, text out.

Which trades, klines and answers are stated wrongly follows from the seed alone: one market with the same faults
lies about the same things. A new family is a module here and a line in ``kinds``.
"""
