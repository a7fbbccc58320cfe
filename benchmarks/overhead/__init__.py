"""Step time and memory of balanced training against plain Keras, over sizes, modes and rivals."""
