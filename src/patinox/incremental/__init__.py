"""From a source's pieces to an answer: assembling now; chunking, processing and validating stand before it."""
