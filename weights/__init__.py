"""From a name to a verified checkpoint, and back."""
