"""What the runtime needs of the world, as contracts. Adapters are elsewhere."""
