"""The commands of ``cfseg``, one module each: its flags, and the call."""
