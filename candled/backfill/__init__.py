"""Fill the history's past from the exchange's REST API or its archive."""
