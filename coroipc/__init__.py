"""libqb's shared-memory IPC, byte for byte: what clients and engines share."""
