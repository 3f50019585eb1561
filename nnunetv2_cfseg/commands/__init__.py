"""The commands of ``cfseg``, one module each, with their flags."""
