/* tenantd: names of tenants, their domains, and who is open.
 * At rest: every tenant is ACTIVE; whoever was not taken has left no name and no domain. */
#include <string.h>

#include "onboarding/v1/onboarding.pb-c.h"
#include "services/kit/kit.h"
#include "tenantd_schema.h"

enum {
    RESERVED = ONBOARDING__V1__TENANT_STATE__TENANT_STATE_RESERVED,
    ACTIVE = ONBOARDING__V1__TENANT_STATE__TENANT_STATE_ACTIVE,
};
enum { NAME_SIZE_MIN = 3, NAME_SIZE_MAX = 31, DOMAIN_SIZE_MAX = 253 };

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define NAME_CHARACTERS LOWER "0123456789-"

static bool is_name(const char *name)
{
    size_t size = strlen(name);
    return size >= NAME_SIZE_MIN && size <= NAME_SIZE_MAX && strchr(LOWER, name[0]) != NULL &&
           strspn(name, NAME_CHARACTERS) == size;
}

static bool is_domain(const char *domain)
{
    size_t size = strlen(domain);
    return size <= DOMAIN_SIZE_MAX && strspn(domain, NAME_CHARACTERS ".") == size &&
           domain[0] != '.' && strchr(domain, '.') != NULL && domain[size - 1] != '.' &&
           strstr(domain, "..") == NULL;
}

static void reserve_name(Onboarding__V1__TenantService_Service *service,
                         const Onboarding__V1__ReserveNameRequest *in,
                         Onboarding__V1__ReserveNameResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    if (!is_name(in->tenant)) {
        saga_call_refuse(call, SAGA_CODE_INVALID_ARGUMENT, "NAME_INVALID",
                         "a name is a-z, 0-9 and -, begins with a letter, and has %d to %d bytes",
                         NAME_SIZE_MIN, NAME_SIZE_MAX);
        return;
    }
    if (in->plan != ONBOARDING__V1__PLAN__PLAN_TEAM &&
        in->plan != ONBOARDING__V1__PLAN__PLAN_BUSINESS) {
        saga_call_refuse(call, SAGA_CODE_INVALID_ARGUMENT, "PLAN_INVALID", "there is no plan %d",
                         (int)in->plan);
        return;
    }
    if (saga_call_run(call,
                      "INSERT INTO tenant (tenant, plan, state) VALUES (?1, ?2, ?3)"
                      " ON CONFLICT DO NOTHING",
                      "sii", in->tenant, (int64_t)in->plan, (int64_t)RESERVED) == 0) {
        saga_call_refuse(call, SAGA_CODE_ALREADY_EXISTS, "NAME_TAKEN", "%s is taken", in->tenant);
        return;
    }
    Onboarding__V1__ReserveNameResponse out = ONBOARDING__V1__RESERVE_NAME_RESPONSE__INIT;
    closure(&out, data);
}

/* The undo. The barrier lets it in once, and only if this saga's reserve_name was done: the name is
 * this saga's. */
static void release_name(Onboarding__V1__TenantService_Service *service,
                         const Onboarding__V1__ReleaseNameRequest *in,
                         Onboarding__V1__ReleaseNameResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    (void)saga_call_run(call, "DELETE FROM tenant WHERE tenant = ?1 AND state = ?2", "si",
                        in->tenant, (int64_t)RESERVED);
    Onboarding__V1__ReleaseNameResponse out = ONBOARDING__V1__RELEASE_NAME_RESPONSE__INIT;
    closure(&out, data);
}

static void bind_domain(Onboarding__V1__TenantService_Service *service,
                        const Onboarding__V1__BindDomainRequest *in,
                        Onboarding__V1__BindDomainResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    if (!is_domain(in->domain)) {
        saga_call_refuse(call, SAGA_CODE_INVALID_ARGUMENT, "DOMAIN_INVALID",
                         "that is no domain: %s", in->domain);
        return;
    }
    struct saga_sql_stmt *tenant =
        saga_call_sql(call, "SELECT plan FROM tenant WHERE tenant = ?1", "s", in->tenant);
    if (!saga_call_row(call, tenant)) {
        saga_call_refuse(call, SAGA_CODE_NOT_FOUND, "TENANT_UNKNOWN", "there is no tenant %s",
                         in->tenant);
        return;
    }
    if (saga_sql_int(tenant, 0) != ONBOARDING__V1__PLAN__PLAN_BUSINESS) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "PLAN_HAS_NO_DOMAIN",
                         "a domain of one's own comes with the plan BUSINESS");
        return;
    }
    if (saga_call_run(call,
                      "INSERT INTO domain (domain, tenant) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                      "ss", in->domain, in->tenant) == 0) {
        saga_call_refuse(call, SAGA_CODE_ALREADY_EXISTS, "DOMAIN_TAKEN",
                         "%s leads to another tenant", in->domain);
        return;
    }
    Onboarding__V1__BindDomainResponse out = ONBOARDING__V1__BIND_DOMAIN_RESPONSE__INIT;
    closure(&out, data);
}

static void unbind_domain(Onboarding__V1__TenantService_Service *service,
                          const Onboarding__V1__UnbindDomainRequest *in,
                          Onboarding__V1__UnbindDomainResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    (void)saga_call_run(call, "DELETE FROM domain WHERE tenant = ?1", "s", in->tenant);
    Onboarding__V1__UnbindDomainResponse out = ONBOARDING__V1__UNBIND_DOMAIN_RESPONSE__INIT;
    closure(&out, data);
}

/* Behind the pivot: it is paid, so it cannot say no. */
static void activate_tenant(Onboarding__V1__TenantService_Service *service,
                            const Onboarding__V1__ActivateTenantRequest *in,
                            Onboarding__V1__ActivateTenantResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    if (saga_call_run(call,
                      "UPDATE tenant SET state = ?2, database = ?3, bucket = ?4, subscription = ?5"
                      " WHERE tenant = ?1",
                      "sisss", in->tenant, (int64_t)ACTIVE, in->database, in->bucket,
                      in->subscription) == 0) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "TENANT_UNKNOWN",
                         "there is no tenant %s", in->tenant);
        return;
    }
    Onboarding__V1__ActivateTenantResponse out = ONBOARDING__V1__ACTIVATE_TENANT_RESPONSE__INIT;
    closure(&out, data);
}

static Onboarding__V1__TenantService_Service tenants = ONBOARDING__V1__TENANT_SERVICE__INIT();

/* plan: onboarding.v1.Plan; state: onboarding.v1.TenantState. */
static const char *const migrations[] = {
    "CREATE TABLE tenant ("
    " tenant TEXT PRIMARY KEY,"
    " plan INTEGER NOT NULL CHECK (plan IN (1, 2)),"
    " state INTEGER NOT NULL CHECK (state IN (1, 2)),"
    " database TEXT NOT NULL DEFAULT '',"
    " bucket TEXT NOT NULL DEFAULT '',"
    " subscription TEXT NOT NULL DEFAULT '') STRICT;"
    "CREATE TABLE domain ("
    " domain TEXT PRIMARY KEY,"
    " tenant TEXT NOT NULL UNIQUE) STRICT",
};

int main(int argc, char **argv)
{
    const struct saga_kit_app app = {
        .name = "tenantd",
        .summary = "Names and domains of tenants: the participant onboarding.v1.TenantService.",
        .env_prefix = "TENANTD",
        .service = &tenants.base,
        .descriptor_set = {.data = tenantd_schema, .size = sizeof tenantd_schema},
        .migrations = migrations,
        .migration_count = sizeof migrations / sizeof migrations[0],
    };
    return saga_kit_main(argc, argv, &app);
}
