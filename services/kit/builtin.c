/* Methods of every daemon: its schema, its health. Thread: the worker. */
#include <stdio.h>
#include <string.h>

#include "saga/v1/health.pb-c.h"
#include "saga/v1/reflection.pb-c.h"
#include "services/kit/room.h"

enum { PARTS_MAX = 16 };

/* Texts of a part live in the turn's arena. */
struct report {
    struct saga_kit *kit;
    Saga__V1__HealthPart parts[PARTS_MAX];
    Saga__V1__HealthPart *pointers[PARTS_MAX];
    size_t count;
    int worst;
};

static char *copy_text(struct saga_kit *kit, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = saga_arena_take(&kit->turn.arena, size);
    return copy == NULL ? (char *)(uintptr_t)protobuf_c_empty_string : memcpy(copy, text, size);
}

void saga_kit_health_add(void *data, const char *name, int state, const char *detail)
{
    struct report *report = data;
    if (report->count == PARTS_MAX) {
        return;
    }
    Saga__V1__HealthPart *part = &report->parts[report->count];
    saga__v1__health_part__init(part);
    part->name = copy_text(report->kit, name);
    part->detail = copy_text(report->kit, detail == NULL ? "" : detail);
    part->state = (Saga__V1__HealthState)state;
    report->pointers[report->count++] = part;
    report->worst = state > report->worst ? state : report->worst;
}

static void add_store(struct saga_kit *kit, struct report *report)
{
    if (atomic_load(&kit->failed)) {
        saga_kit_health_add(report, "store", SAGA__V1__HEALTH_STATE__HEALTH_STATE_NOT_SERVING,
                            kit->failure.text);
        return;
    }
    char text[SAGA_STATUS_MESSAGE_MAX];
    (void)snprintf(text, sizeof text, "commits=%lld commands=%lld replays=%lld dead_letters=%lld",
                   (long long)atomic_load(&kit->counters.commits),
                   (long long)atomic_load(&kit->counters.commands),
                   (long long)atomic_load(&kit->counters.replays),
                   (long long)atomic_load(&kit->counters.dead_letters));
    saga_kit_health_add(report, "store", SAGA__V1__HEALTH_STATE__HEALTH_STATE_SERVING, text);
}

static void add_kafka(struct saga_kit *kit, struct report *report)
{
    int state = SAGA__V1__HEALTH_STATE__HEALTH_STATE_DEGRADED;
    const char *text = "";
    if (kit->relay == NULL) {
        text = "not configured (--kafka): no compensations are taken, effects wait";
    } else if (atomic_load(&kit->stopping)) {
        text = "stopping";
    } else if (!saga_relay_up(kit->relay)) {
        text = "no broker can be reached, or a record is refused (see the log): effects wait";
    } else if (kit->consumer != NULL && !saga_kafka_consumer_up(kit->consumer)) {
        text = "the command topic is not being read (yet): compensations wait";
    } else {
        state = SAGA__V1__HEALTH_STATE__HEALTH_STATE_SERVING;
    }
    saga_kit_health_add(report, "kafka", state, text);
}

/* Asks every part. */
static void collect(struct saga_kit *kit, struct report *report)
{
    *report = (struct report){.kit = kit, .worst = SAGA__V1__HEALTH_STATE__HEALTH_STATE_SERVING};
    add_store(kit, report);
    add_kafka(kit, report);
    if (kit->app->health != NULL) {
        kit->app->health(kit, kit->app->user, report);
    }
}

void saga_kit_health_each(struct saga_call *call, saga_kit_health_part *part, void *context)
{
    struct report report;
    collect(call->kit, &report);
    for (size_t i = 0; i < report.count; i++) {
        part(context, report.parts[i].name, (int)report.parts[i].state, report.parts[i].detail);
    }
}

static void check(Saga__V1__HealthService_Service *service, const Saga__V1__CheckRequest *in,
                  Saga__V1__CheckResponse_Closure closure, void *data)
{
    (void)service;
    (void)in;
    struct saga_call *call = data;
    struct saga_kit *kit = call->kit;
    struct report report;
    collect(kit, &report);
    char version[128];
    (void)snprintf(version, sizeof version, "%s %s", kit->app->name, SAGA_VERSION);
    Saga__V1__CheckResponse out = SAGA__V1__CHECK_RESPONSE__INIT;
    out.state = (Saga__V1__HealthState)report.worst;
    out.n_parts = report.count;
    out.parts = report.pointers;
    out.version = version;
    closure(&out, data);
}

static void get_descriptor_set(Saga__V1__ReflectionService_Service *service,
                               const Saga__V1__GetDescriptorSetRequest *in,
                               Saga__V1__GetDescriptorSetResponse_Closure closure, void *data)
{
    (void)service;
    (void)in;
    struct saga_call *call = data;
    char *services[] = {
        copy_text(call->kit, call->kit->service_name),
        copy_text(call->kit, "saga.v1.HealthService"),
        copy_text(call->kit, "saga.v1.ReflectionService"),
    };
    Saga__V1__GetDescriptorSetResponse out = SAGA__V1__GET_DESCRIPTOR_SET_RESPONSE__INIT;
    struct saga_bytes set = saga_kit_descriptor_set(call->kit);
    out.descriptor_set.len = set.size;
    out.descriptor_set.data = (uint8_t *)(uintptr_t)set.data; /* protobuf-c reads it only */
    out.n_services = sizeof services / sizeof services[0];
    out.services = services;
    closure(&out, data);
}

static Saga__V1__HealthService_Service health = {
    .base = {&saga__v1__health_service__descriptor, protobuf_c_service_invoke_internal, NULL},
    .check = check,
};

static Saga__V1__ReflectionService_Service reflection = {
    .base = {&saga__v1__reflection_service__descriptor, protobuf_c_service_invoke_internal, NULL},
    .get_descriptor_set = get_descriptor_set,
};

ProtobufCService *const saga_kit_builtins[] = {&health.base, &reflection.base};
const size_t saga_kit_builtin_count = sizeof saga_kit_builtins / sizeof saga_kit_builtins[0];
