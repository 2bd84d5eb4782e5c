"""The daemon: ingest, aggregator and writer in one root nursery."""
