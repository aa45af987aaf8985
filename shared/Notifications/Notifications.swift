// The Notifications module.
