"""Storage and GitHub. Their exceptions stop here and leave as ours."""
