"""What other programs spend on a part of candled's work, each in a process and with packages of its own."""
