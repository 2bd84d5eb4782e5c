"""Read stored bars: SQL, connections, and the daemon's own queries."""
