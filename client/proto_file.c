/* Reading a descriptor set, or a .proto by way of protoc. See proto_file.h.
 *
 * protoc reads what is built in by --descriptor_set_in, behind the directories of -I, so that a
 * .proto may import saga/v1/options.proto wherever it is. The files that it shares with us have
 * no name (they are unlinked as soon as they are open), so that nothing is left behind however this
 * ends. */
#define _XOPEN_SOURCE 700 /* realpath() is in POSIX.1-2008's XSI part */

#include "client/proto_file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/proto_messages.h"
#include "descriptor_set.h"
#include "google/protobuf/descriptor.pb-c.h"

extern char **environ;

static const char PROTO_PATH[] = "--proto_path=";

enum { PACKAGE_SIZE = SAGA_TYPE_NAME_MAX + 1, PATH_SIZE = 4096, READ_SIZE = 64 * 1024 };

bool saga_proto_file_is_source(const char *path)
{
    size_t size = strlen(path);
    return size > 6 && strcmp(path + size - 6, ".proto") == 0;
}

static bool ends_with_path(const char *path, const char *name)
{
    size_t path_size = strlen(path);
    size_t name_size = strlen(name);
    return name_size <= path_size && strcmp(path + path_size - name_size, name) == 0 &&
           (name_size == path_size || path[path_size - name_size - 1] == '/');
}

bool saga_proto_file_is_path_of(const char *path, const char *name)
{
    if (ends_with_path(path, name)) {
        return true;
    }
    char *real = realpath(path, NULL);
    bool same = real != NULL && ends_with_path(real, name);
    free(real);
    return same;
}

enum saga_err saga_proto_file_text(const char *path, struct saga_buf *text)
{
    FILE *file = fopen(path, "rb");
    enum saga_err err = file == NULL ? SAGA_ERR_IO : SAGA_ERR_OK;
    bool more = true;
    while (err == SAGA_ERR_OK && more) {
        err = saga_buf_reserve(text, READ_SIZE);
        if (err == SAGA_ERR_OK) {
            size_t count = fread(text->data + text->size, 1, READ_SIZE, file);
            text->size += count;
            more = count > 0;
        }
        if (text->size > SAGA_DESCRIPTOR_SET_SIZE_MAX) {
            err = SAGA_ERR_LIMIT;
        }
    }
    if (file != NULL) {
        err = ferror(file) != 0 ? SAGA_ERR_IO : err;
        (void)fclose(file);
    }
    return err;
}

/* ---- Where a package begins ---- */

/* Gives the next character that is no comment. Pre: it is not within a quoted text. */
static int next_char(FILE *file)
{
    int c = getc(file);
    if (c != '/') {
        return c;
    }
    int after = getc(file);
    if (after == '/') {
        while (c != '\n' && c != EOF) {
            c = getc(file);
        }
        return c;
    }
    if (after != '*') {
        (void)ungetc(after, file);
        return c;
    }
    int last = 0;
    for (c = getc(file); c != EOF && !(last == '*' && c == '/'); c = getc(file)) {
        last = c;
    }
    return c == EOF ? EOF : ' ';
}

/* Reads to the end of a quoted text. One that does not end is refused by protoc, wherever it is. */
static void skip_quoted(FILE *file, int quote)
{
    for (int c = getc(file); c != EOF && c != quote; c = getc(file)) {
        if (c == '\\') {
            (void)getc(file); /* what is escaped ends nothing */
        }
    }
}

/* Reads one statement, up to ';', '{', '}', blanks and quoted texts as one blank. Returns false at
 * the end of the file. */
static bool next_statement(FILE *file, char *text, size_t size)
{
    size_t used = 0;
    for (int c = next_char(file); c != EOF; c = next_char(file)) {
        if (c == ';' || c == '{' || c == '}') {
            text[used] = '\0';
            return true;
        }
        bool quoted = c == '"' || c == '\'';
        if (quoted) {
            skip_quoted(file, c);
        }
        bool blank = quoted || isspace(c);
        if (used + 1 < size && !(blank && (used == 0 || text[used - 1] == ' '))) {
            text[used++] = blank ? ' ' : (char)c;
        }
    }
    return false;
}

/* Finds the package of a .proto as a path, "order/v1"; "" when there is none. protoc judges the
 * file, this is for its folder alone. */
static void package_path(const char *proto, char path[PACKAGE_SIZE])
{
    path[0] = '\0';
    FILE *file = fopen(proto, "rb");
    if (file == NULL) {
        return;
    }
    char statement[PACKAGE_SIZE] = "";
    while (next_statement(file, statement, sizeof statement)) {
        if (strncmp(statement, "package ", 8) == 0) {
            size_t used = 0;
            for (const char *c = statement + 8; *c != '\0'; c++) {
                if (*c != ' ') {
                    path[used++] = *c == '.' ? '/' : *c;
                }
            }
            path[used] = '\0';
            break;
        }
    }
    (void)fclose(file);
}

/* Writes the folder of a .proto. Returns false: the path is too long. */
static bool folder_of(const char *proto, char folder[PATH_SIZE])
{
    const char *slash = strrchr(proto, '/');
    size_t size = slash == NULL || slash == proto ? 1 : (size_t)(slash - proto);
    if (size >= PATH_SIZE) {
        return false;
    }
    memcpy(folder, slash == NULL ? "." : proto, size);
    folder[size] = '\0';
    return true;
}

/* Cuts the package's folder off; false: the folder does not end in it. */
static bool cut_package(char folder[PATH_SIZE], const char *package)
{
    size_t size = strlen(folder);
    size_t tail = strlen(package);
    if (tail == 0 || !ends_with_path(folder, package)) {
        return false;
    }
    size_t left = size - tail;
    if (left == 0) {
        (void)snprintf(folder, PATH_SIZE, ".");
    } else {
        folder[left == 1 ? 1 : left - 1] = '\0';
    }
    return true;
}

/* How a .proto is given to protoc, which compares paths as texts. */
struct input {
    char root[PATH_SIZE]; /* the folder that its imports are relative to */
    char *real;           /* its real path, where only that shows the root; NULL: as it is given */
};

/* Returns false: a path is too long. */
static bool find_input(const char *proto, struct input *input)
{
    char package[PACKAGE_SIZE];
    input->real = NULL;
    if (!folder_of(proto, input->root)) {
        return false;
    }
    package_path(proto, package);
    if (cut_package(input->root, package)) {
        return true;
    }
    /* Perhaps the working directory is in the package's folder. */
    char folder[PATH_SIZE];
    char *real = realpath(proto, NULL);
    if (real != NULL && folder_of(real, folder) && cut_package(folder, package)) {
        memcpy(input->root, folder, sizeof folder);
        input->real = real;
    } else {
        free(real);
    }
    return true;
}

/* ---- protoc's arguments ---- */

/* Arguments; each one is owned. All zero is none. */
struct arguments {
    char **list; /* ended by NULL */
    size_t count, capacity;
    bool failed; /* out of memory */
};

static void add(struct arguments *arguments, const char *flag, const char *value)
{
    if (arguments->count + 2 > arguments->capacity) {
        size_t capacity = 2 * arguments->capacity + 16;
        char **list = realloc(arguments->list, capacity * sizeof *list);
        if (list == NULL) {
            arguments->failed = true;
            return;
        }
        arguments->list = list;
        arguments->capacity = capacity;
    }
    size_t size = strlen(flag) + strlen(value) + 1;
    char *text = malloc(size);
    if (text == NULL) {
        arguments->failed = true;
        return;
    }
    (void)snprintf(text, size, "%s%s", flag, value);
    arguments->list[arguments->count++] = text;
    arguments->list[arguments->count] = NULL;
}

static void add_once(struct arguments *arguments, const char *flag, const char *value)
{
    size_t size = strlen(flag);
    for (size_t i = 0; i < arguments->count; i++) {
        if (strncmp(arguments->list[i], flag, size) == 0 &&
            strcmp(arguments->list[i] + size, value) == 0) {
            return;
        }
    }
    add(arguments, flag, value);
}

static void arguments_fini(struct arguments *arguments)
{
    for (size_t i = 0; i < arguments->count; i++) {
        free(arguments->list[i]);
    }
    free(arguments->list);
}

/* Adds the root of each file that is given by its real path, or of the others. Exit status; the
 * message is printed. */
static int add_roots(struct arguments *arguments, const char *const *paths, size_t count, bool real)
{
    for (size_t i = 0; i < count; i++) {
        struct input input;
        if (!find_input(paths[i], &input)) {
            return saga_client_fail("%.64s: the path is too long", paths[i]);
        }
        bool is_real = input.real != NULL;
        free(input.real);
        if (strchr(input.root, ':') != NULL) {
            return saga_client_fail("%s: protoc takes no folder with a ':' in its name", paths[i]);
        }
        if (is_real == real) {
            add_once(arguments, PROTO_PATH, input.root);
        }
    }
    return SAGA_EXIT_OK;
}

/* Fills in the directories. Exit status; the message is printed. */
static int add_folders(struct arguments *arguments, const struct saga_proto_given *given)
{
    const struct saga_options *options = given->options;
    size_t count = options == NULL ? 0 : saga_options_count(options, "proto-path");
    /* First, or protoc would find these files by another folder, and call them shadowed. */
    int status = add_roots(arguments, given->paths, given->count, true);
    for (size_t i = 0; i < count; i++) {
        add_once(arguments, PROTO_PATH, saga_options_at(options, "proto-path", i));
    }
    if (status == SAGA_EXIT_OK) {
        status = add_roots(arguments, given->paths, given->count, false);
    }
    if (count == 0 && given->count > 0) {
        add_once(arguments, PROTO_PATH, ".");
    }
    return status;
}

/* Fills in the files. Exit status; the message is printed. */
static int add_files(struct arguments *arguments, const struct saga_proto_given *given)
{
    for (size_t i = 0; i < given->count; i++) {
        struct input input;
        const char *path = given->paths[i];
        if (!find_input(path, &input)) {
            return saga_client_fail("%.64s: the path is too long", path);
        }
        add(arguments, input.real == NULL && path[0] == '-' ? "./" : "",
            input.real == NULL ? path : input.real);
        free(input.real);
    }
    return arguments->failed ? saga_client_fail("out of memory") : SAGA_EXIT_OK;
}

/* ---- Paths of files ---- */

static bool append_path(struct saga_buf *path, const char *folder, const char *name)
{
    bool here = strcmp(folder, ".") == 0;
    size_t size = strlen(folder);
    const char *slash = here || (size > 0 && folder[size - 1] == '/') ? "" : "/";
    return saga_buf_append(path, saga_bytes_text(here ? "" : folder)) == SAGA_ERR_OK &&
           saga_buf_append(path, saga_bytes_text(slash)) == SAGA_ERR_OK &&
           saga_buf_append(path, (struct saga_bytes){(const uint8_t *)name, strlen(name) + 1}) ==
               SAGA_ERR_OK;
}

bool saga_proto_file_find(const struct saga_proto_given *given, const char *name,
                          struct saga_buf *path)
{
    for (size_t i = 0; i < given->count; i++) {
        if (saga_proto_file_is_path_of(given->paths[i], name)) {
            return append_path(path, ".", given->paths[i]);
        }
    }
    struct arguments arguments = {0};
    bool found = false;
    if (add_folders(&arguments, given) == SAGA_EXIT_OK) {
        for (size_t i = 0; i < arguments.count && !found; i++) {
            saga_buf_clear(path);
            found = append_path(path, arguments.list[i] + strlen(PROTO_PATH), name) &&
                    access((const char *)path->data, R_OK) == 0;
        }
    }
    arguments_fini(&arguments);
    return found;
}

/* ---- Files without a name ---- */

/* Opens one in TMPDIR; -1 after a message. */
static int open_nameless(void)
{
    const char *folder = getenv("TMPDIR");
    char name[PATH_SIZE];
    folder = folder == NULL || folder[0] == '\0' ? "/tmp" : folder;
    if (snprintf(name, sizeof name, "%s/sagactl-XXXXXX", folder) >= (int)sizeof name) {
        (void)saga_client_fail("TMPDIR: the path is too long");
        return -1;
    }
    int fd = mkstemp(name);
    if (fd < 0) {
        (void)saga_client_fail("%s: %s", name, strerror(errno));
        return -1;
    }
    (void)unlink(name);
    return fd;
}

static bool write_whole(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t count = write(fd, data, size);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return false;
        }
        data += count;
        size -= (size_t)count;
    }
    return true;
}

static int read_whole(int fd, struct saga_buf *out)
{
    if (lseek(fd, 0, SEEK_SET) != 0) {
        return saga_client_fail("protoc's output: %s", strerror(errno));
    }
    for (;;) {
        if (saga_buf_reserve(out, READ_SIZE) != SAGA_ERR_OK) {
            return saga_client_fail("out of memory");
        }
        ssize_t count = read(fd, out->data + out->size, READ_SIZE);
        if (count == 0) {
            return SAGA_EXIT_OK;
        }
        if (count < 0 && errno != EINTR) {
            return saga_client_fail("protoc's output: %s", strerror(errno));
        }
        out->size += count < 0 ? 0 : (size_t)count;
        if (out->size > SAGA_DESCRIPTOR_SET_SIZE_MAX) {
            return saga_client_fail("protoc's output is larger than %d bytes "
                                    "(SAGA_DESCRIPTOR_SET_SIZE_MAX)",
                                    SAGA_DESCRIPTOR_SET_SIZE_MAX);
        }
    }
}

static bool may_be_imported(const char *name)
{
    return strncmp(name, "saga/v1/", 8) == 0 || strncmp(name, "google/protobuf/", 16) == 0;
}

/* Writes what everybody may import. The ordering system is left out: a stale copy of it must not
 * stand in for an import that is not found. */
static bool write_built_in(int fd)
{
    Google__Protobuf__FileDescriptorSet *set = google__protobuf__file_descriptor_set__unpack(
        NULL, saga_descriptor_set_size, saga_descriptor_set);
    if (set == NULL) {
        return false;
    }
    size_t all = set->n_file;
    size_t kept = 0;
    for (size_t i = 0; i < all; i++) {
        if (may_be_imported(set->file[i]->name)) {
            Google__Protobuf__FileDescriptorProto *file = set->file[i];
            set->file[i] = set->file[kept];
            set->file[kept++] = file;
        }
    }
    set->n_file = kept;
    size_t size = google__protobuf__file_descriptor_set__get_packed_size(set);
    uint8_t *data = malloc(size > 0 ? size : 1);
    bool written = false;
    if (data != NULL) {
        written = write_whole(fd, data, google__protobuf__file_descriptor_set__pack(set, data));
    }
    free(data);
    set->n_file = all;
    google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
    return written;
}

/* ---- Running protoc ---- */

/* Starts it; what it prints goes to a file of ours. */
static int spawn_protoc(char *const *argv, int messages, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0) {
        return error;
    }
    error = posix_spawn_file_actions_adddup2(&actions, messages, STDERR_FILENO);
    if (error == 0) {
        error = posix_spawn_file_actions_adddup2(&actions, messages, STDOUT_FILENO);
    }
    if (error == 0) {
        error = posix_spawnp(pid, "protoc", &actions, NULL, argv, environ);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    return error;
}

static void tell_messages(const struct saga_proto_given *given, int messages, json_t *errors)
{
    struct saga_buf text = {0};
    if (read_whole(messages, &text) == SAGA_EXIT_OK) {
        saga_proto_messages_tell(given, saga_buf_view(&text), errors);
    }
    saga_buf_fini(&text);
}

static int tell_no_protoc(const char *path, int error)
{
    if (error != ENOENT) {
        return saga_client_fail("%s: protoc cannot be started: %s", path, strerror(error));
    }
    return saga_client_fail(
        "%s: protoc is not there, and a .proto is read by it: install the package "
        "protobuf-compiler, or give a descriptor set made elsewhere (protoc --include_imports "
        "--include_source_info --descriptor_set_out=NAME.binpb)",
        path);
}

/* Starts protoc and waits for it. Exit status; the message is printed. */
static int run_protoc(const struct arguments *arguments, const struct saga_proto_given *given,
                      int messages, json_t *errors)
{
    const char *path = given->count == 1 ? given->paths[0] : "FILE";
    pid_t pid = 0;
    int status = 0;
    int error = spawn_protoc(arguments->list, messages, &pid);
    if (error != 0) {
        return tell_no_protoc(path, error);
    }
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return saga_client_fail("%s: waitpid: %s", path, strerror(errno));
        }
    }
    tell_messages(given, messages, errors);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
        return tell_no_protoc(path, ENOENT);
    }
    if (WIFSIGNALED(status)) {
        return saga_client_fail("%s: protoc was ended by signal %d", path, WTERMSIG(status));
    }
    return WEXITSTATUS(status) == 0
               ? SAGA_EXIT_OK
               : saga_client_fail("%s: protoc refuses it, see above (imports are relative to the "
                                  "folders of --proto-path)",
                                  path);
}

/* What is shared with protoc. */
enum { FILE_IN, FILE_OUT, FILE_MESSAGES, FILE_COUNT };

static int compile(const struct saga_proto_given *given, const int files[FILE_COUNT],
                   json_t *errors)
{
    struct arguments arguments = {0};
    char number[32];
    if (!write_built_in(files[FILE_IN])) {
        return saga_client_fail("a file in TMPDIR cannot be written: %s", strerror(errno));
    }
    add(&arguments, "protoc", "");
    (void)snprintf(number, sizeof number, "%d", files[FILE_IN]);
    add(&arguments, "--descriptor_set_in=/dev/fd/", number);
    (void)snprintf(number, sizeof number, "%d", files[FILE_OUT]);
    add(&arguments, "--descriptor_set_out=/dev/fd/", number);
    add(&arguments, "--include_imports", "");
    add(&arguments, "--include_source_info", "");
    int status = add_folders(&arguments, given);
    if (status == SAGA_EXIT_OK) {
        status = add_files(&arguments, given);
    }
    if (status == SAGA_EXIT_OK) {
        status = run_protoc(&arguments, given, files[FILE_MESSAGES], errors);
    }
    arguments_fini(&arguments);
    return status;
}

int saga_proto_files_read(const struct saga_proto_given *given, struct saga_buf *set,
                          json_t *errors)
{
    int files[FILE_COUNT] = {-1, -1, -1};
    int status = SAGA_EXIT_OK;
    for (size_t i = 0; i < given->count; i++) {
        if (access(given->paths[i], R_OK) != 0) {
            return saga_client_fail("%s: %s", given->paths[i], strerror(errno));
        }
    }
    for (size_t i = 0; i < FILE_COUNT && status == SAGA_EXIT_OK; i++) {
        files[i] = open_nameless();
        status = files[i] < 0 ? SAGA_EXIT_FAILED : SAGA_EXIT_OK;
    }
    if (status == SAGA_EXIT_OK) {
        status = compile(given, files, errors);
    }
    if (status == SAGA_EXIT_OK) {
        status = read_whole(files[FILE_OUT], set);
    }
    for (size_t i = 0; i < FILE_COUNT; i++) {
        if (files[i] >= 0) {
            (void)close(files[i]);
        }
    }
    return status;
}

int saga_proto_file_read_noting(const struct saga_options *options, const char *path,
                                struct saga_buf *set, json_t *errors)
{
    if (saga_proto_file_is_source(path)) {
        struct saga_proto_given given = {options, &path, 1};
        return saga_proto_files_read(&given, set, errors);
    }
    char at[PATH_SIZE];
    if (snprintf(at, sizeof at, "@%s", path) >= (int)sizeof at) {
        return saga_client_fail("%.64s…: the path is too long", path);
    }
    return saga_client_data(at, set);
}

int saga_proto_file_read(const struct saga_options *options, const char *path, struct saga_buf *set)
{
    return saga_proto_file_read_noting(options, path, set, NULL);
}

int saga_proto_file_schema(const struct saga_options *options, const char *path,
                           struct saga_schema **schema)
{
    struct saga_err_detail detail = {{0}};
    struct saga_buf file = {0};
    struct saga_bytes bytes = {saga_descriptor_set, saga_descriptor_set_size};
    *schema = NULL;
    if (path != NULL) {
        int status = saga_proto_file_read(options, path, &file);
        if (status != SAGA_EXIT_OK) {
            saga_buf_fini(&file);
            return status;
        }
        bytes = saga_buf_view(&file);
    }
    enum saga_err err = saga_schema_load(bytes, schema, &detail);
    saga_buf_fini(&file);
    if (err != SAGA_ERR_OK) {
        *schema = NULL;
        return saga_client_fail("%s: %s", path == NULL ? "built-in descriptor set" : path,
                                detail.text);
    }
    return SAGA_EXIT_OK;
}
