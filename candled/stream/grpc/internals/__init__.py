"""The only package that uses private attributes of grpclib and h2, and the bridge to asyncio."""
