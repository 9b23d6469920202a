"""The search spaces that come with the project, to be named on the command line."""
