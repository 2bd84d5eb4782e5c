"""Logs, histograms, tables of metrics and the watchdog; knows none of the parts that use them."""
