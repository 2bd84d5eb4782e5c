"""A small client of NATS for Trio: the protocol, a connection that reconnects, the JetStream calls in use."""
