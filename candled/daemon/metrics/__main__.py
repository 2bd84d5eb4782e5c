"""Print the text of docs/metrics.md: ``make metrics-doc`` writes it."""

from candled.daemon.metrics import document

print(document(), end="")
