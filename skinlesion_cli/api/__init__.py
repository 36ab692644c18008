"""The library: one function per task, with settings in and frozen results out."""
