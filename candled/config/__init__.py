"""Settings: one typed definition of each, their sources, and the map of shards."""
