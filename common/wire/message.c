/* Generated messages on an arena. protobuf-c recurses once per nested message and allocates for
 * each, so a walk over the bytes, without recursion or memory, comes first and refuses what would
 * hurt: too deep, too many, not UTF-8. */
#include <protobuf-c/protobuf-c.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/wire/envelope.h"
#include "common/wire/message.h"
#include "common/wire/wire.h"

static void *arena_alloc(void *data, size_t size)
{
    return saga_arena_take(data, size);
}

static void arena_free(void *data, void *memory)
{
    (void)data; /* the arena frees everything at once */
    (void)memory;
}

void saga_arena_allocator(struct saga_arena *arena, struct ProtobufCAllocator *allocator)
{
    *allocator = (ProtobufCAllocator){
        .alloc = arena_alloc,
        .free = arena_free,
        .allocator_data = arena,
    };
}

struct level {
    struct saga_wire_reader reader;
    const ProtobufCMessageDescriptor *type;
};

static bool text_good(struct saga_bytes text)
{
    /* A zero inside would cut a C string without a word. */
    return saga_wire_utf8(text) && (text.size == 0 || memchr(text.data, 0, text.size) == NULL);
}

/* Walks bytes by a generated type: well formed, at most SAGA_MESSAGE_DEPTH_MAX deep, at most
 * SAGA_MESSAGE_NODES_MAX messages in all, text is UTF-8? */
static bool walk(const struct ProtobufCMessageDescriptor *type, struct saga_bytes bytes)
{
    struct level levels[SAGA_MESSAGE_DEPTH_MAX];
    size_t depth = 0;
    size_t nodes = 0;
    levels[depth++] = (struct level){saga_wire_read(bytes), type};
    while (depth > 0) {
        struct level *level = &levels[depth - 1];
        struct saga_wire_field field;
        enum saga_wire_next next = saga_wire_next(&level->reader, &field);
        if (next == SAGA_WIRE_NEXT_MALFORMED) {
            return false;
        }
        if (next == SAGA_WIRE_NEXT_END) {
            depth--;
            continue;
        }
        const ProtobufCFieldDescriptor *known =
            protobuf_c_message_descriptor_get_field(level->type, field.number);
        if (known == NULL || field.type != SAGA_WIRE_LEN) {
            continue; /* protobuf-c decides */
        }
        if (known->type == PROTOBUF_C_TYPE_STRING && !text_good(field.bytes)) {
            return false;
        }
        if (known->type == PROTOBUF_C_TYPE_MESSAGE) {
            if (depth == SAGA_MESSAGE_DEPTH_MAX || ++nodes > SAGA_MESSAGE_NODES_MAX) {
                return false;
            }
            levels[depth++] = (struct level){saga_wire_read(field.bytes), known->descriptor};
        }
    }
    return true;
}

/* An allocator that remembers that it had nothing to give: protobuf-c itself says NULL to that and
 * to malformed bytes alike. */
struct watched_arena {
    struct saga_arena *arena;
    bool empty;
};

static void *watched_alloc(void *data, size_t size)
{
    struct watched_arena *watched = data;
    void *memory = saga_arena_take(watched->arena, size);
    watched->empty = watched->empty || memory == NULL;
    return memory;
}

enum saga_err saga_message_unpack(const struct ProtobufCMessageDescriptor *type,
                                  struct saga_bytes bytes, struct saga_arena *arena,
                                  struct ProtobufCMessage **message)
{
    struct watched_arena watched = {.arena = arena};
    ProtobufCAllocator allocator = {
        .alloc = watched_alloc, .free = arena_free, .allocator_data = &watched};
    *message = NULL;
    if (!walk(type, bytes)) {
        return SAGA_ERR_MALFORMED;
    }
    *message = protobuf_c_message_unpack(type, &allocator, bytes.size, bytes.data);
    if (*message != NULL) {
        return SAGA_ERR_OK;
    }
    return watched.empty ? SAGA_ERR_NO_MEMORY : SAGA_ERR_MALFORMED;
}

struct ProtobufCMessage *saga_message_decode(const struct ProtobufCMessageDescriptor *type,
                                             struct saga_bytes bytes, struct saga_arena *arena)
{
    struct ProtobufCMessage *message = NULL;
    bool good = bytes.size <= SAGA_MESSAGE_SIZE_MAX &&
                saga_message_unpack(type, bytes, arena, &message) == SAGA_ERR_OK;
    return good ? message : NULL;
}

enum saga_err saga_message_encode(const struct ProtobufCMessage *message, struct saga_buf *out)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    enum saga_err err = saga_buf_reserve(out, size);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    if (size > 0) {
        out->size += protobuf_c_message_pack(message, out->data + out->size);
    }
    return SAGA_ERR_OK;
}
