"""From a pile of images to a checkpoint."""
