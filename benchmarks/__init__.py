"""Every published number of the project, one command each."""
