"""How good a prediction is. Takes the JSON documents that others read and write; one file a metric."""
