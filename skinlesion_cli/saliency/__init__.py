"""Class-activation maps and their faithfulness."""
