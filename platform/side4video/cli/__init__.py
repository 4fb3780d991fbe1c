"""The command line: one module a command. Whatever is heavy is imported inside the command."""
