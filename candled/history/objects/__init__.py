"""The history in an object store: upload, restore, a cache for readers. Imported only where a URL is given."""
