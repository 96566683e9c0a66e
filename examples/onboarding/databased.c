/* databased: servers with room for databases, and the databases on them.
 * Always: room + databases of a server is constant. */
#include <stdio.h>

#include "databased_schema.h"
#include "onboarding/v1/onboarding.pb-c.h"
#include "services/kit/kit.h"

enum { SERVER_SIZE = 64, ADDRESS_SIZE = 160 };

/* Finds the server of the region with the most room. False: refused. */
static bool find_server(struct saga_call *call, const char *region, char server[SERVER_SIZE])
{
    struct saga_sql_stmt *best = saga_call_sql(call,
                                               "SELECT server, room FROM server WHERE region = ?1"
                                               " ORDER BY room DESC, server LIMIT 1",
                                               "s", region);
    if (!saga_call_row(call, best)) {
        saga_call_refuse(call, SAGA_CODE_NOT_FOUND, "REGION_UNKNOWN", "there is no region %s",
                         region);
        return false;
    }
    if (saga_sql_int(best, 1) == 0) {
        saga_call_refuse(call, SAGA_CODE_FAILED_PRECONDITION, "REGION_FULL",
                         "no server of region %s has room", region);
        return false;
    }
    (void)snprintf(server, SERVER_SIZE, "%s", saga_sql_text(best, 0));
    return true;
}

static void create_database(Onboarding__V1__DatabaseService_Service *service,
                            const Onboarding__V1__CreateDatabaseRequest *in,
                            Onboarding__V1__CreateDatabaseResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    char server[SERVER_SIZE];
    (void)service;
    if (!find_server(call, in->region, server)) {
        return;
    }
    if (saga_call_run(call,
                      "INSERT INTO database (tenant, server) VALUES (?1, ?2)"
                      " ON CONFLICT DO NOTHING",
                      "ss", in->tenant, server) == 0) {
        saga_call_refuse(call, SAGA_CODE_ALREADY_EXISTS, "TENANT_EXISTS",
                         "%s has a database already", in->tenant);
        return;
    }
    (void)saga_call_run(call, "UPDATE server SET room = room - 1 WHERE server = ?1", "s", server);
    char address[ADDRESS_SIZE];
    (void)snprintf(address, sizeof address, "%s/%s", server, in->tenant);
    Onboarding__V1__CreateDatabaseResponse out = ONBOARDING__V1__CREATE_DATABASE_RESPONSE__INIT;
    out.database = address;
    closure(&out, data);
}

static void drop_database(Onboarding__V1__DatabaseService_Service *service,
                          const Onboarding__V1__DropDatabaseRequest *in,
                          Onboarding__V1__DropDatabaseResponse_Closure closure, void *data)
{
    struct saga_call *call = data;
    (void)service;
    (void)saga_call_run(call,
                        "UPDATE server SET room = room + 1 FROM database AS d"
                        " WHERE d.tenant = ?1 AND server.server = d.server",
                        "s", in->tenant);
    (void)saga_call_run(call, "DELETE FROM database WHERE tenant = ?1", "s", in->tenant);
    Onboarding__V1__DropDatabaseResponse out = ONBOARDING__V1__DROP_DATABASE_RESPONSE__INIT;
    closure(&out, data);
}

static Onboarding__V1__DatabaseService_Service databases = ONBOARDING__V1__DATABASE_SERVICE__INIT();

static const char *const migrations[] = {
    "CREATE TABLE server ("
    " server TEXT PRIMARY KEY CHECK (length(CAST(server AS BLOB)) < 64),"
    " region TEXT NOT NULL,"
    " room INTEGER NOT NULL CHECK (room >= 0)) STRICT;"
    "CREATE INDEX server_by_room ON server (region, room);"
    "CREATE TABLE database ("
    " tenant TEXT PRIMARY KEY CHECK (length(CAST(tenant AS BLOB)) BETWEEN 1 AND 64),"
    " server TEXT NOT NULL REFERENCES server (server)) STRICT",
};

static const struct saga_kit_seed seeds[] = {
    {.array = "servers",
     .sql = "INSERT INTO server (server, region, room) VALUES (?1, ?2, ?3)"
            " ON CONFLICT (server) DO NOTHING",
     .keys = (const char *const[]){"server", "region", "room", NULL}},
};

int main(int argc, char **argv)
{
    const struct saga_kit_app app = {
        .name = "databased",
        .summary = "Databases on servers: the participant onboarding.v1.DatabaseService.",
        .env_prefix = "DATABASED",
        .service = &databases.base,
        .descriptor_set = {.data = databased_schema, .size = sizeof databased_schema},
        .migrations = migrations,
        .migration_count = sizeof migrations / sizeof migrations[0],
        .seeds = seeds,
        .seed_count = sizeof seeds / sizeof seeds[0],
    };
    return saga_kit_main(argc, argv, &app);
}
