"""The root nursery, where the parts meet."""
