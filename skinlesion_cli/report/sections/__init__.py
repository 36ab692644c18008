"""The sections of a run's report: each function returns one as plain data (see `content`)."""
