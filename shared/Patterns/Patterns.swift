// The Patterns module.
