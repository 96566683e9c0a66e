/* Static checks of methods, roads and topics. */
#include <string.h>

#include "common/wire/schema_internal.h"

static bool letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* Form of a method: identifiers joined by dots, a slash, an identifier. */
static bool method_good(const char *text)
{
    bool start = true;
    bool slash = false;
    for (const char *at = text; *at != '\0'; at++) {
        bool joins = (*at == '.' && !slash) || (*at == '/' && !slash);
        if (start ? !letter(*at) : !letter(*at) && !(*at >= '0' && *at <= '9') && !joins) {
            return false;
        }
        start = joins;
        slash = slash || *at == '/';
    }
    return slash && !start && strlen(text) <= SAGA_METHOD_NAME_MAX;
}

static const struct saga_service *service_of(const struct saga_schema *schema,
                                             const struct saga_method *method)
{
    char name[SAGA_METHOD_NAME_MAX + 1];
    size_t size = (size_t)(strchr(method->full_name, '/') - method->full_name);
    memcpy(name, method->full_name, size);
    name[size] = '\0';
    return saga_schema_service(schema, name);
}

/* Finds a method that a step names; NULL when it names none, or a finding was noted. */
static const struct saga_method *resolve(struct saga_draft *draft, int step, const char *what,
                                         const char *text)
{
    if (text[0] == '\0') {
        return NULL;
    }
    if (!method_good(text)) {
        saga_lint_add(draft, "SAGA015", step,
                      "%s: \"%.128s\" is not a method; write \"package.Service/Method\"", what,
                      text);
        return NULL;
    }
    const struct saga_method *method = saga_schema_method(draft->loader->schema, text);
    if (method == NULL) {
        saga_lint_add(draft, "SAGA016", step,
                      "%s: there is no method %.255s in the schema; mend the name, import the "
                      "file that declares it, or give a descriptor set that has that file too",
                      what, text);
        return NULL;
    }
    if (method->streaming) {
        saga_lint_add(draft, "SAGA034", step,
                      "%s: %.255s streams, and a step is one request and one response; name a "
                      "method without stream",
                      what, text);
        return NULL;
    }
    return method;
}

/* Each service keeps the barrier of what it has done. An undo that goes to another one finds no
 * call there and is taken for one that has overtaken it (B2): it succeeds, empty, and the effect
 * stays. */
static void check_same_service(struct saga_draft *draft, int step,
                               const struct saga_step_decl *decl)
{
    if (decl->call_service != NULL && decl->undo_service != NULL &&
        decl->call_service != decl->undo_service) {
        saga_lint_add(draft, "SAGA044", step,
                      "the call goes to %.150s and the undo to %.150s, which knows nothing of the "
                      "call and would undo nothing; name an undo of %.150s",
                      decl->call_service->name, decl->undo_service->name, decl->call_service->name);
    }
}

/* The barrier would let it through: call and undo are two operations of a step, not a duplicate. */
static void check_other_method(struct saga_draft *draft, int step,
                               const struct saga_step_decl *decl)
{
    if (decl->call != NULL && decl->call == decl->undo) {
        saga_lint_add(draft, "SAGA045", step,
                      "undo: names the method that call: names, %.255s, so that the step would be "
                      "done again instead of undone; name the method that takes it back",
                      decl->call->full_name);
    }
}

void saga_lint_methods(struct saga_draft *draft)
{
    const struct saga_schema *schema = draft->loader->schema;
    for (size_t i = 0; i < draft->decl.step_count; i++) {
        const Saga__V1__Step *option = draft->option->step[i];
        struct saga_step_decl *step = &draft->steps[i];
        if (saga_lint_is_child(option)) {
            step->call_via = SAGA_VIA_CHILD;
            step->undo_via = SAGA_VIA_CHILD;
            continue;
        }
        step->call = resolve(draft, (int)i, "call", option->call);
        step->undo = resolve(draft, (int)i, "undo", option->undo);
        step->call_service = step->call == NULL ? NULL : service_of(schema, step->call);
        step->undo_service = step->undo == NULL ? NULL : service_of(schema, step->undo);
        check_same_service(draft, (int)i, step);
        check_other_method(draft, (int)i, step);
        step->call_via = option->via == SAGA__V1__VIA__VIA_KAFKA ? SAGA_VIA_KAFKA : SAGA_VIA_NNG;
        step->undo_via = SAGA_VIA_KAFKA;
        if ((int)option->via < SAGA__V1__VIA__VIA_UNSPECIFIED ||
            (int)option->via > SAGA__V1__VIA__VIA_KAFKA) {
            saga_lint_add(draft, "SAGA036", (int)i,
                          "via: %d is no road; write VIA_NNG or VIA_KAFKA, or leave it out",
                          (int)option->via);
        }
    }
}

/* ---- Topics ---- */

/* Kafka's own rule. */
static bool topic_good(const char *name)
{
    size_t size = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return name[size] == '\0' && size > 0 && size <= SAGA_TOPIC_NAME_MAX &&
           strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static const struct saga_service *find_sharer(const struct saga_schema *schema,
                                              const struct saga_service *service)
{
    for (size_t i = 0; i < schema->service_count; i++) {
        const struct saga_service *other = &schema->services[i];
        if (other != service && (strcmp(other->command_topic, service->command_topic) == 0 ||
                                 strcmp(other->reply_topic, service->command_topic) == 0)) {
            return other;
        }
    }
    return NULL;
}

static void check_topics(struct saga_draft *draft, int step, const char *what,
                         const struct saga_service *service)
{
    if (service->command_topic[0] == '\0' || service->reply_topic[0] == '\0') {
        saga_lint_add(draft, "SAGA026", step,
                      "%s goes over Kafka, but the service %.200s has no topics; give it option "
                      "(saga.v1.topics) = { command: \"...\" reply: \"...\" }",
                      what, service->name);
        return;
    }
    const struct saga_service *sharer = find_sharer(draft->loader->schema, service);
    if (!topic_good(service->command_topic) || !topic_good(service->reply_topic)) {
        saga_lint_add(draft, "SAGA027", step,
                      "a topic of the service %.200s is not a name that Kafka takes; write "
                      "[a-zA-Z0-9._-]+, at most %d bytes",
                      service->name, SAGA_TOPIC_NAME_MAX);
    } else if (strcmp(service->command_topic, service->reply_topic) == 0) {
        saga_lint_add(draft, "SAGA027", step,
                      "the service %.200s has one topic for commands and replies; give it two",
                      service->name);
    } else if (sharer != NULL) {
        saga_lint_add(draft, "SAGA027", step,
                      "the services %.150s and %.150s share the topic %.100s; commands would reach "
                      "the wrong one, give each its own",
                      service->name, sharer->name, service->command_topic);
    }
}

void saga_lint_topics(struct saga_draft *draft)
{
    for (size_t i = 0; i < draft->decl.step_count; i++) {
        const struct saga_step_decl *step = &draft->steps[i];
        bool call_travels = step->call != NULL && step->call_via == SAGA_VIA_KAFKA;
        if (call_travels) {
            check_topics(draft, (int)i, "call", step->call_service);
        }
        if (step->undo != NULL && !(call_travels && step->undo_service == step->call_service)) {
            check_topics(draft, (int)i, "undo", step->undo_service);
        }
    }
}
