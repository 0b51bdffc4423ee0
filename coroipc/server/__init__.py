"""The server side of the local IPC, for asyncio processes. Clients never import it."""
