"""A run that is to end in time: how fast trainings are here, what fits, and what is left."""
