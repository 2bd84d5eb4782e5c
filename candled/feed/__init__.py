"""How trades come in: connections to an exchange, their supervision, and the repair of what they did not bring."""
