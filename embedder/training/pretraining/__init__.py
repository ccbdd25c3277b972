"""Pre-training: a vocabulary, a network and its weights from text alone."""
