#pragma once
#include <stddef.h>
#include <stdint.h>
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#include <amqp_ssl_socket.h>

// Variadic in C, so out of Swift's reach. Offers PLAIN only: RabbitMQ's default, and all that a URL can carry.
static inline amqp_rpc_reply_t rabbitmq_login_plain(amqp_connection_state_t _Nonnull state, const char *_Nonnull vhost,
                                                    int heartbeat, const amqp_table_t *_Nonnull properties,
                                                    const char *_Nonnull user, const char *_Nonnull password) {
    return amqp_login_with_properties(state, vhost, AMQP_DEFAULT_MAX_CHANNELS, AMQP_DEFAULT_FRAME_SIZE, heartbeat,
                                      properties, AMQP_SASL_METHOD_PLAIN, user, password);
}
