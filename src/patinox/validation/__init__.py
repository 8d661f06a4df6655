"""Nothing that a blocking validator has not passed ever leaves: the release frontier, and one validator a file."""
