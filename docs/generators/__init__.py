"""What turns the package into pages: its documents, its commands, and what is known of the paper's tables."""
