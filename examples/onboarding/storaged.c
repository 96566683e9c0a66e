/* storaged: disks of a region, and the buckets on them.
 * Always: free GiB + GiB of buckets of a region is constant. */
#include <inttypes.h>
#include <stdio.h>

#include "onboarding/v1/onboarding.pb-c.h"
#include "services/kit/kit.h"
#include "storaged_schema.h"

enum { TEAM_GIB = 20, BUSINESS_GIB = 500, BUCKET_SIZE = 160 };

/* How large a bucket of the plan is; 0: there is no such plan. */
static int64_t gib_of(Onboarding__V1__Plan plan)
{
    return plan == ONBOARDING__V1__PLAN__PLAN_TEAM       ? TEAM_GIB
           : plan == ONBOARDING__V1__PLAN__PLAN_BUSINESS ? BUSINESS_GIB
                                                         : 0;
}

static void create_bucket(Onboarding__V1__StorageService_Service *service,
                          const Onboarding__V1__CreateBucketRequest *in,
                          Onboarding__V1__CreateBucketResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    int64_t gib = gib_of(in->plan);
    if (gib == 0) {
        saga_call_refuse(call, SAGA_CODE_INVALID_ARGUMENT, "PLAN_INVALID", "there is no plan %d",
                         (int)in->plan);
        return;
    }
    struct saga_sql_stmt *disk =
        saga_call_sql(call, "SELECT free_gib FROM disk WHERE region = ?1", "s", in->region);
    if (!saga_call_row(call, disk)) {
        saga_call_refuse(call, SAGA_CODE_NOT_FOUND, "REGION_UNKNOWN", "there is no region %s",
                         in->region);
        return;
    }
    int64_t free_gib = saga_sql_int(disk, 0);
    if (free_gib < gib) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "STORAGE_FULL",
                         "region %s has %" PRId64 " GiB, %" PRId64 " are needed", in->region,
                         free_gib, gib);
        return;
    }
    if (saga_call_run(call,
                      "INSERT INTO bucket (tenant, region, gib) VALUES (?1, ?2, ?3)"
                      " ON CONFLICT DO NOTHING",
                      "ssi", in->tenant, in->region, gib) == 0) {
        saga_call_refuse(call, SAGA_CODE_ALREADY_EXISTS, "TENANT_EXISTS", "%s has a bucket already",
                         in->tenant);
        return;
    }
    (void)saga_call_run(call, "UPDATE disk SET free_gib = free_gib - ?2 WHERE region = ?1", "si",
                        in->region, gib);
    char bucket[BUCKET_SIZE];
    (void)snprintf(bucket, sizeof bucket, "%s-%s", in->region, in->tenant);
    Onboarding__V1__CreateBucketResponse out = ONBOARDING__V1__CREATE_BUCKET_RESPONSE__INIT;
    out.bucket = bucket;
    closure(&out, data);
}

static void delete_bucket(Onboarding__V1__StorageService_Service *service,
                          const Onboarding__V1__DeleteBucketRequest *in,
                          Onboarding__V1__DeleteBucketResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    (void)saga_call_run(call,
                        "UPDATE disk SET free_gib = free_gib + b.gib FROM bucket AS b"
                        " WHERE b.tenant = ?1 AND disk.region = b.region",
                        "s", in->tenant);
    (void)saga_call_run(call, "DELETE FROM bucket WHERE tenant = ?1", "s", in->tenant);
    Onboarding__V1__DeleteBucketResponse out = ONBOARDING__V1__DELETE_BUCKET_RESPONSE__INIT;
    closure(&out, data);
}

static Onboarding__V1__StorageService_Service storage = ONBOARDING__V1__STORAGE_SERVICE__INIT();

static const char *const migrations[] = {
    "CREATE TABLE disk ("
    " region TEXT PRIMARY KEY CHECK (length(CAST(region AS BLOB)) BETWEEN 1 AND 64),"
    " free_gib INTEGER NOT NULL CHECK (free_gib >= 0)) STRICT;"
    "CREATE TABLE bucket ("
    " tenant TEXT PRIMARY KEY CHECK (length(CAST(tenant AS BLOB)) BETWEEN 1 AND 64),"
    " region TEXT NOT NULL REFERENCES disk (region),"
    " gib INTEGER NOT NULL CHECK (gib > 0)) STRICT",
};

static const struct saga_kit_seed seeds[] = {
    {.array = "disks",
     .sql = "INSERT INTO disk (region, free_gib) VALUES (?1, ?2)"
            " ON CONFLICT (region) DO NOTHING",
     .keys = (const char *const[]){"region", "free_gib", NULL}},
};

int main(int argc, char **argv)
{
    const struct saga_kit_app app = {
        .name = "storaged",
        .summary = "Buckets on disks: the participant onboarding.v1.StorageService.",
        .env_prefix = "STORAGED",
        .service = &storage.base,
        .descriptor_set = {.data = storaged_schema, .size = sizeof storaged_schema},
        .migrations = migrations,
        .migration_count = sizeof migrations / sizeof migrations[0],
        .seeds = seeds,
        .seed_count = sizeof seeds / sizeof seeds[0],
    };
    return saga_kit_main(argc, argv, &app);
}
