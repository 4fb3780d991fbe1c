"""Show what queries of a retrieval run found."""
