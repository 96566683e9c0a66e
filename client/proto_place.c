/* Where in a .proto a finding about a saga is. See proto_place.h. */
#include "client/proto_place.h"

#include <stdbool.h>
#include <string.h>

enum token_kind { TOKEN_END, TOKEN_WORD, TOKEN_TEXT, TOKEN_SIGN };

enum { TAB = 8 }; /* protoc's */

struct token {
    enum token_kind kind;
    struct saga_bytes text; /* of a TEXT: without its quotes, escapes as they are */
    struct saga_proto_place place;
};

struct reader {
    const uint8_t *at, *end;
    int line, column;
};

/* ---- Tokens ---- */

static void skip(struct reader *reader)
{
    if (*reader->at == '\n') {
        reader->line++;
        reader->column = 1;
    } else if (*reader->at == '\t') {
        reader->column += TAB - (reader->column - 1) % TAB;
    } else {
        reader->column++;
    }
    reader->at++;
}

static bool sees(const struct reader *reader, const char *text)
{
    size_t size = strlen(text);
    return (size_t)(reader->end - reader->at) >= size && memcmp(reader->at, text, size) == 0;
}

static void skip_to(struct reader *reader, const char *text)
{
    while (reader->at < reader->end && !sees(reader, text)) {
        skip(reader);
    }
}

static void skip_blank(struct reader *reader)
{
    while (reader->at < reader->end) {
        if (sees(reader, "//")) {
            skip_to(reader, "\n");
        } else if (sees(reader, "/*")) {
            skip(reader);
            skip(reader);
            skip_to(reader, "*/");
            for (int i = 0; i < 2 && reader->at < reader->end; i++) {
                skip(reader);
            }
        } else if (*reader->at == ' ' || (*reader->at >= '\t' && *reader->at <= '\r')) {
            skip(reader);
        } else {
            return;
        }
    }
}

static bool in_word(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static struct token next_token(struct reader *reader)
{
    skip_blank(reader);
    struct token token = {.place = {reader->line, reader->column}};
    const uint8_t *begin = reader->at;
    if (begin == reader->end) {
        return token;
    }
    if (*begin == '"' || *begin == '\'') {
        skip(reader);
        while (reader->at < reader->end && *reader->at != *begin && *reader->at != '\n') {
            if (*reader->at == '\\' && reader->at + 1 < reader->end) {
                skip(reader);
            }
            skip(reader);
        }
        token.kind = TOKEN_TEXT;
        token.text = (struct saga_bytes){begin + 1, (size_t)(reader->at - begin - 1)};
        if (reader->at < reader->end) {
            skip(reader);
        }
        return token;
    }
    token.kind = in_word(*begin) ? TOKEN_WORD : TOKEN_SIGN;
    do {
        skip(reader);
    } while (token.kind == TOKEN_WORD && reader->at < reader->end && in_word(*reader->at));
    token.text = (struct saga_bytes){begin, (size_t)(reader->at - begin)};
    return token;
}

static bool is(const struct token *token, enum token_kind kind, const char *text)
{
    return token->kind == kind && saga_bytes_equal(token->text, saga_bytes_text(text));
}

static bool opens(const struct token *token)
{
    return is(token, TOKEN_SIGN, "{") || is(token, TOKEN_SIGN, "<");
}

static bool closes(const struct token *token)
{
    return is(token, TOKEN_SIGN, "}") || is(token, TOKEN_SIGN, ">");
}

/* ---- What is meant ---- */

struct meant {
    struct saga_bytes key;  /* field of the step, or of the definition; empty: the whole */
    struct saga_bytes text; /* a text in its value; empty: any */
};

static struct saga_bytes word_at(const char *text)
{
    size_t size = 0;
    while ((text[size] >= 'a' && text[size] <= 'z') || text[size] == '_') {
        size++;
    }
    return (struct saga_bytes){(const uint8_t *)text, text[size] == ':' ? size : 0};
}

/* Finds the field that a finding is about: the message begins with it, or the code tells. */
static struct meant what_is_meant(const struct saga_finding *finding)
{
    static const struct {
        const char *code, *key;
    } keys[] = {
        {"SAGA001", "name"}, {"SAGA002", "name"},        {"SAGA004", "name"},
        {"SAGA005", "name"}, {"SAGA008", "pivot"},       {"SAGA011", "undo"},
        {"SAGA012", "undo"}, {"SAGA013", "undo"},        {"SAGA014", "read_only"},
        {"SAGA023", "undo"}, {"SAGA028", "deadline_ms"}, {"SAGA029", "deadline_ms"},
        {"SAGA032", "when"}, {"SAGA039", "saga"},        {"SAGA042", "saga"},
        {"SAGA043", "saga"}, {"SAGA044", "undo"},        {"SAGA045", "undo"},
    };
    struct meant meant = {.key = word_at(finding->message)};
    const char *so = strstr(finding->message, ", so ");
    if (meant.key.size == 0 && strcmp(finding->code, "SAGA041") == 0 && so != NULL) {
        meant.key = word_at(so + strlen(", so "));
        return meant; /* its message has the child's name in quotes */
    }
    for (size_t i = 0; meant.key.size == 0 && i < sizeof keys / sizeof keys[0]; i++) {
        if (strcmp(keys[i].code, finding->code) == 0) {
            meant.key = saga_bytes_text(keys[i].key);
            return meant;
        }
    }
    const char *quote = strchr(finding->message, '"');
    const char *end = quote == NULL ? NULL : strchr(quote + 1, '"');
    if (meant.key.size > 0 && end != NULL) {
        meant.text = (struct saga_bytes){(const uint8_t *)quote + 1, (size_t)(end - quote - 1)};
    }
    return meant;
}

/* Looks for a field, behind the brace that opens what it is in. Gives the first one whose value has
 * the text, else the first one, else `place`. */
static struct saga_proto_place find_field(struct reader *reader, const struct meant *meant,
                                          struct saga_proto_place place)
{
    struct saga_proto_place first = {0};
    struct saga_proto_place current = {0};
    int depth = 1;
    for (struct token token = next_token(reader); depth > 0 && token.kind != TOKEN_END;
         token = next_token(reader)) {
        if (depth == 1 && token.kind == TOKEN_WORD && token.text.size > 0) {
            struct reader ahead = *reader;
            struct token after = next_token(&ahead);
            bool field = is(&after, TOKEN_SIGN, ":") || opens(&after);
            if (field) {
                bool wanted = saga_bytes_equal(token.text, meant->key);
                current = wanted ? token.place : (struct saga_proto_place){0};
                first = wanted && first.line == 0 ? token.place : first;
            }
        } else if (token.kind == TOKEN_TEXT && current.line > 0 &&
                   saga_bytes_equal(token.text, meant->text)) {
            return current;
        }
        depth += opens(&token) ? 1 : closes(&token) ? -1 : 0;
    }
    return first.line > 0 ? first : place;
}

/* Goes behind `option (saga.v1.definition) = {`. Returns false when that is not there. */
static bool enter_option(struct reader *reader, const struct saga_finding *finding)
{
    while (reader->at < reader->end &&
           (reader->line < finding->line ||
            (reader->line == finding->line && reader->column < finding->column))) {
        skip(reader);
    }
    struct token token = next_token(reader);
    if (!is(&token, TOKEN_WORD, "option")) {
        return false;
    }
    token = next_token(reader);
    if (!is(&token, TOKEN_SIGN, "(")) {
        return false;
    }
    while (token.kind != TOKEN_END && !is(&token, TOKEN_SIGN, ")")) {
        token = next_token(reader);
    }
    token = next_token(reader);
    if (!is(&token, TOKEN_SIGN, "=")) {
        return false; /* a part of the option: it has a place of its own */
    }
    token = next_token(reader);
    return opens(&token);
}

/* Goes behind the brace of a step, and gives the step's place; not known: there is none. `step: [`
 * begins a list, whose elements count like steps of their own. */
static struct saga_proto_place enter_step(struct reader *reader, int wanted)
{
    struct saga_proto_place place = {0};
    int step = -1;
    int depth = 1;
    bool in_steps = false;
    for (struct token token = next_token(reader); depth > 0 && token.kind != TOKEN_END;
         token = next_token(reader)) {
        if (depth == 1 && token.kind == TOKEN_WORD) {
            in_steps = is(&token, TOKEN_WORD, "step");
            place = token.place;
        } else if (depth == 1 && in_steps && opens(&token)) {
            if (++step == wanted) {
                return place;
            }
        } else if (depth == 1 && in_steps && is(&token, TOKEN_SIGN, ",")) {
            struct reader ahead = *reader;
            place = next_token(&ahead).place;
        }
        depth += opens(&token) ? 1 : closes(&token) ? -1 : 0;
    }
    return (struct saga_proto_place){0};
}

struct saga_proto_place saga_proto_place(struct saga_bytes text, const struct saga_finding *finding)
{
    struct saga_proto_place place = {finding->line, finding->column};
    struct meant meant = what_is_meant(finding);
    struct reader reader = {text.data, text.data + text.size, 1, 1};
    if (text.size == 0 || finding->line == 0 || !enter_option(&reader, finding)) {
        return place;
    }
    if (finding->step >= 0) {
        struct saga_proto_place step = enter_step(&reader, finding->step);
        if (step.line == 0) {
            return place;
        }
        place = step;
    }
    return meant.key.size == 0 ? place : find_field(&reader, &meant, place);
}
