/* Request values: a file's, and generated ones for what it does not have. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/prng.h"
#include "verify/certify/internal.h"

struct saga_certify_values {
    const struct saga_schema *schema;
    json_t *all;   /* method: array of variants */
    json_t *given; /* the names of methods that the file has */
};

/* What may stand in "$expect". */
static const struct {
    const char *text;
    enum certify_expect expect;
} expects[] = {
    {"ok", CERTIFY_EXPECT_OK},
    {"no", CERTIFY_EXPECT_NO},
    {"retry", CERTIFY_EXPECT_RETRY},
    {"once", CERTIFY_EXPECT_ONCE},
};

/* Reads "$expect"; false: something else stands there. */
static bool read_expect(const json_t *variant, enum certify_expect *expect)
{
    const json_t *given = json_object_get(variant, "$expect");
    const char *text = json_string_value(given);
    *expect = CERTIFY_EXPECT_OK;
    for (size_t i = 0; text != NULL && i < sizeof expects / sizeof expects[0]; i++) {
        if (strcmp(text, expects[i].text) == 0) {
            *expect = expects[i].expect;
            return true;
        }
    }
    return given == NULL;
}

static enum certify_expect expect_of(const json_t *variant)
{
    enum certify_expect expect;
    (void)read_expect(variant, &expect);
    return expect;
}

/* Checks what stands beside the fields of a variant, and that it can be encoded. */
static enum saga_err check_variant(const struct saga_certify_values *values,
                                   const struct saga_method *method, const json_t *variant,
                                   struct saga_err_detail *detail)
{
    enum certify_expect expect;
    if (!json_is_object(variant)) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "%s: a request must be a JSON object",
                            method->full_name);
    }
    if (!read_expect(variant, &expect)) {
        return saga_err_set(detail, SAGA_ERR_INVALID,
                            "%s: $expect must be \"ok\", \"no\", \"retry\" or \"once\"",
                            method->full_name);
    }
    if (json_object_get(variant, "$before") != NULL) {
        return SAGA_ERR_OK; /* its fields may come from replies: seen when it runs */
    }
    struct saga_buf wire = {0};
    struct certify_names names = {.id = 1};
    enum saga_err err =
        certify_values_encode(values->schema, method->request, variant, &names, &wire, detail);
    saga_buf_fini(&wire);
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, method->full_name);
}

static enum saga_err add_method(struct saga_certify_values *values, const char *name, json_t *value,
                                struct saga_err_detail *detail)
{
    const struct saga_method *method = saga_schema_method(values->schema, name);
    if (method == NULL) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "%s: there is no such method in the schema",
                            name);
    }
    json_t *list = json_is_array(value) ? json_incref(value) : json_pack("[O]", value);
    enum saga_err err = list == NULL ? SAGA_ERR_NO_MEMORY : SAGA_ERR_OK;
    size_t count = json_array_size(list);
    if (err == SAGA_ERR_OK && (count == 0 || count > SAGA_CERTIFY_VARIANTS_MAX)) {
        err = saga_err_set(detail, SAGA_ERR_INVALID, "%s: 1 to %d requests", name,
                           SAGA_CERTIFY_VARIANTS_MAX);
    }
    for (size_t i = 0; i < count && err == SAGA_ERR_OK; i++) {
        err = check_variant(values, method, json_array_get(list, i), detail);
    }
    if (err == SAGA_ERR_OK && json_object_set(values->all, name, list) != 0) {
        err = SAGA_ERR_NO_MEMORY;
    }
    json_decref(list);
    return err;
}

static enum saga_err read_file(struct saga_certify_values *values, struct saga_bytes text,
                               struct saga_err_detail *detail)
{
    json_error_t error;
    if (text.size == 0) {
        return SAGA_ERR_OK;
    }
    json_t *root = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "line %d column %d: %s", error.line,
                            error.column, error.text);
    }
    enum saga_err err = SAGA_ERR_OK;
    if (!json_is_object(root)) {
        err = saga_err_set(detail, SAGA_ERR_INVALID,
                           "it must be an object {\"package.Service/Method\": {request}}");
    }
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach(root, name, value)
    {
        if (err != SAGA_ERR_OK) {
            break;
        }
        if (name[0] == '$') {
            continue; /* "$comment" */
        }
        err = add_method(values, name, value, detail);
        if (err == SAGA_ERR_OK && json_object_set_new(values->given, name, json_true()) != 0) {
            err = SAGA_ERR_NO_MEMORY;
        }
    }
    json_decref(root);
    return err;
}

static enum saga_err fill(struct saga_certify_values *values, const struct saga_method *method,
                          const struct saga_method *other, uint64_t *random,
                          struct saga_err_detail *detail)
{
    if (method == NULL || json_object_get(values->all, method->full_name) != NULL) {
        return SAGA_ERR_OK;
    }
    json_t *made =
        certify_values_generate(method->request, other == NULL ? NULL : other->request, random);
    if (made == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    enum saga_err err = add_method(values, method->full_name, made, detail);
    json_decref(made);
    return err;
}

enum saga_err saga_certify_values_make(const struct saga_schema *schema,
                                       const struct saga_certify_steps *steps,
                                       struct saga_bytes text, uint64_t seed,
                                       struct saga_certify_values **values,
                                       struct saga_err_detail *detail)
{
    struct saga_certify_values *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    made->schema = schema;
    made->all = json_object();
    made->given = json_object();
    enum saga_err err = made->all == NULL || made->given == NULL ? SAGA_ERR_NO_MEMORY
                                                                 : read_file(made, text, detail);
    for (size_t i = 0; i < steps->count && err == SAGA_ERR_OK; i++) {
        const struct saga_certify_step *step = &steps->list[i];
        uint64_t random = seed;
        err = fill(made, step->call, step->undo, &random, detail);
        if (err == SAGA_ERR_OK) {
            err = fill(made, step->undo, step->call, &random, detail);
        }
    }
    if (err != SAGA_ERR_OK) {
        saga_certify_values_free(made);
        return err;
    }
    *values = made;
    return SAGA_ERR_OK;
}

void saga_certify_values_free(struct saga_certify_values *values)
{
    if (values == NULL) {
        return;
    }
    json_decref(values->all);
    json_decref(values->given);
    free(values);
}

const json_t *saga_certify_values_json(const struct saga_certify_values *values)
{
    return values->all;
}

json_t *saga_certify_values_template(const struct saga_certify_values *values,
                                     const struct saga_certify_steps *steps)
{
    static const char comment[] =
        "Requests made of the schema: put in ids and amounts that the participant accepts. The "
        "requests with \"$expect\": \"no\" must be refused for good: put in fields that are (an "
        "empty request may be). docs/certify.md tells what else may stand here: ${id}, $before, "
        "\"$expect\": \"retry\" and \"once\".";
    json_t *made = json_pack("{s:s}", "$comment", comment);
    json_t *all = json_deep_copy(values->all);
    bool good = made != NULL && all != NULL;
    for (size_t i = 0; i < steps->count && good; i++) {
        const struct saga_method *call = steps->list[i].call;
        if (call == NULL || call->no_side_effects ||
            certify_values_given(values, call->full_name) ||
            json_array_size(json_object_get(all, call->full_name)) != 1) {
            continue; /* nothing of it is refused; given; or there already, for another step */
        }
        good = json_array_append_new(json_object_get(all, call->full_name),
                                     json_pack("{s:s}", "$expect", "no")) == 0;
    }
    good = good && json_object_update(made, all) == 0;
    json_decref(all);
    if (!good) {
        json_decref(made);
        return NULL;
    }
    return made;
}

bool certify_values_given(const struct saga_certify_values *values, const char *method)
{
    return json_object_get(values->given, method) != NULL;
}

const json_t *certify_values_find(const struct saga_certify_values *values, const char *method,
                                  enum certify_expect expect, size_t n)
{
    const json_t *list = json_object_get(values->all, method);
    size_t fitting = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        fitting += expect_of(json_array_get(list, i)) == expect ? 1 : 0;
    }
    if (fitting == 0) {
        return NULL;
    }
    size_t wanted = n % fitting;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *variant = json_array_get(list, i);
        if (expect_of(variant) == expect && wanted-- == 0) {
            return variant;
        }
    }
    return NULL;
}
