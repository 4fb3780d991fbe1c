"""What commands share: options, progress bars and tables for the terminal."""
