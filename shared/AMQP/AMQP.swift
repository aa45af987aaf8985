// The AMQP module.
