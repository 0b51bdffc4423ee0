"""The link between the executive and an engine: frames in shared memory, a doorbell beside them."""
