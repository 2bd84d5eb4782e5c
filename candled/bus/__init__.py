"""The bus between ingesters and edges: plain rules, and their shells over NATS JetStream."""
