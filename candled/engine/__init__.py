"""What happens: trades become bars. Plain state machines, events in and events out; no clock, no I/O, no Trio."""
