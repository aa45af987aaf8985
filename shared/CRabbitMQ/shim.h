#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>
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

// The broker's `version` out of the properties that it sent at login, cut to `size` bytes; how many were copied. Here,
// because Swift cannot walk a table's union of values.
static inline size_t rabbitmq_server_version(amqp_connection_state_t _Nonnull state, char *_Nonnull buffer, size_t size) {
    amqp_table_t *properties = amqp_get_server_properties(state);
    if (properties == NULL) return 0;
    for (int i = 0; i < properties->num_entries; i++) {
        amqp_table_entry_t *entry = &properties->entries[i];
        if (entry->key.len != 7 || memcmp(entry->key.bytes, "version", 7) != 0) continue;
        if (entry->value.kind != AMQP_FIELD_KIND_UTF8) return 0;
        size_t length = entry->value.value.bytes.len < size ? entry->value.value.bytes.len : size;
        memcpy(buffer, entry->value.value.bytes.bytes, length);
        return length;
    }
    return 0;
}
