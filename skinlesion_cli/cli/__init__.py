"""What the terminal sees: one thin file a subcommand."""
