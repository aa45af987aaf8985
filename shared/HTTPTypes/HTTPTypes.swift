// The HTTPTypes module.
