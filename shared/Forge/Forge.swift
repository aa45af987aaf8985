// The Forge module.
