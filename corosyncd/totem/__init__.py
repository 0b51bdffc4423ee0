"""The Totem single-ring protocol, without I/O: bytes and the time go in; frames, deliveries and deadlines come out."""
