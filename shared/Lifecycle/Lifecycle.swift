// The Lifecycle module.
