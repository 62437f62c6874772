// A capsule. Each call runs in an instance of its own, so nothing is kept in memory from one call to the next, and nothing needs
// to be freed. A process outlives the call that started it, and a later call finds it by its label.
//
// The build writes `guest.h` from the interfaces; it is in build/interfaces after the first build.

#include "guest.h"

#include <stdlib.h>
#include <string.h>

// The label by which later calls find the process.
#define COUNTER "counter"

// Answers each line with the number of lines that it has read.
#define SCRIPT "n=0; while read -r line; do n=$((n + 1)); echo $n; done"

// What an action returns: the verdict, and JSON.
typedef struct {
    const char *verdict;
    guest_string_t json;
} answer_t;

static guest_string_t text(const char *characters) {
    guest_string_t text;
    guest_string_set(&text, characters);
    return text;
}

static bool is(guest_string_t text, const char *characters) {
    return text.len == strlen(characters) && memcmp(text.ptr, characters, text.len) == 0;
}

static guest_string_t join(guest_string_t first, guest_string_t second) {
    guest_string_t joined = {malloc(first.len + second.len), first.len + second.len};
    memcpy(joined.ptr, first.ptr, first.len);
    memcpy(joined.ptr + first.len, second.ptr, second.len);
    return joined;
}

static guest_string_t without_newline(guest_string_t text) {
    if (text.len > 0 && text.ptr[text.len - 1] == '\n') {
        text.len -= 1;
    }
    return text;
}

// The text as a JSON string.
static guest_string_t quoted(guest_string_t text) {
    static const char digits[] = "0123456789abcdef";
    guest_string_t json = {malloc(6 * text.len + 2), 0};
    json.ptr[json.len++] = '"';
    for (size_t at = 0; at < text.len; at++) {
        uint8_t byte = text.ptr[at];
        if (byte < 0x20 || byte == '"' || byte == '\\') {
            uint8_t escape[6] = {'\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15]};
            memcpy(json.ptr + json.len, escape, sizeof escape);
            json.len += sizeof escape;
        } else {
            json.ptr[json.len++] = byte;
        }
    }
    json.ptr[json.len++] = '"';
    return json;
}

static answer_t success(guest_string_t json) {
    return (answer_t){"continue", json};
}

static answer_t failure(const char *verdict, guest_string_t message) {
    return (answer_t){verdict, join(join(text("{\"message\":"), quoted(message)), text("}"))};
}

static answer_t host_failure(process_error_code_t error) {
    static const char *const names[] = {
        "capability-denied", "invalid-input", "boundary-escape",  "quota",           "too-large",     "closed",
        "cancelled",         "wait-timeout",  "no-such-process", "registry-full", "persist-unsupported",
    };
    bool is_named = error.tag < sizeof names / sizeof *names;
    return failure("abort", is_named ? text(names[error.tag]) : error.val.unknown);
}

// Starts no process, so it needs no grant.
static answer_t hello(void) {
    sys_caller_context_t caller;
    sys_error_code_t error;
    if (!sys_get_caller(&caller, &error)) {
        return failure("abort", text("the host does not tell the caller"));
    }
    guest_string_t name = caller.principal.is_some ? caller.principal.val : text("stranger");
    return success(quoted(join(join(text("Hello, "), name), text("!"))));
}

// Runs a command to its end and returns its output.
static answer_t kernel(void) {
    guest_string_t arguments[] = {text("-sr")};
    process_spawn_request_t request = {.cmd = text("uname"), .args = {arguments, 1}};
    process_process_result_t result;
    process_error_code_t error;
    if (!process_spawn(&request, &result, &error)) {
        return host_failure(error);
    }
    return success(quoted(without_newline(result.stdout_)));
}

// Finds the running process. `*is_found` tells whether there is one.
static bool find(guest_string_t *id, bool *is_found, process_error_code_t *error) {
    guest_string_t label = text(COUNTER);
    process_list_process_info_t list;
    *is_found = false;
    if (!process_list_processes(&label, &list, error)) {
        return false;
    }
    for (size_t at = 0; at < list.len; at++) {
        if (is(list.ptr[at].label, COUNTER) && list.ptr[at].phase != PROCESS_PROCESS_PHASE_EXITED) {
            *id = list.ptr[at].id;
            *is_found = true;
        }
    }
    return true;
}

// Writes to the process, and reads the next line that it answers, without the line's end.
static bool ask(guest_string_t *id, const char *line, guest_string_t *answer, process_error_code_t *error) {
    process_own_process_handle_t handle;
    if (!process_attach(id, &handle, error)) {
        return false;
    }
    process_borrow_process_handle_t process = process_borrow_process_handle(handle);
    process_own_pollable_t output = process_method_process_handle_subscribe_logs(process);
    guest_list_u8_t data = {(uint8_t *)line, strlen(line)};
    uint32_t written;
    if (!process_method_process_handle_write_stdin(process, &data, &written, error)) {
        return false;
    }
    *answer = text("");
    for (;;) {
        poll_error_code_t ignored;
        poll_method_pollable_block(poll_borrow_pollable(output), &ignored);
        process_read_logs_result_t logs;
        if (!process_method_process_handle_read_logs(process, &logs, error)) {
            return false;
        }
        *answer = join(*answer, logs.stdout_);
        const uint8_t *end = memchr(answer->ptr, '\n', answer->len);
        if (end != NULL) {
            answer->len = end - answer->ptr;
            return true;
        }
        // Only after the look at its output: a process may end right after its answer.
        if (!logs.running) {
            error->tag = PROCESS_ERROR_CODE_CLOSED;
            return false;
        }
    }
}

// Returns how often it was called. Only the process remembers that.
static answer_t count(void) {
    guest_string_t id;
    bool is_found;
    process_error_code_t error;
    if (!find(&id, &is_found, &error)) {
        return host_failure(error);
    }
    if (!is_found) {
        guest_string_t arguments[] = {text("-c"), text(SCRIPT)};
        process_spawn_request_t request = {
            .cmd = text("sh"),
            .args = {arguments, 2},
            .label = {true, text(COUNTER)},
            .keep_stdin_open = {true, true},
        };
        if (!process_spawn_persistent(&request, &id, &error)) {
            return host_failure(error);
        }
    }
    guest_string_t answer;
    if (!ask(&id, "\n", &answer, &error)) {
        return host_failure(error);
    }
    return success(answer);
}

// Ends the process.
static answer_t stop(void) {
    guest_string_t id;
    bool is_found;
    process_error_code_t error;
    process_exit_info_t exit;
    if (!find(&id, &is_found, &error)) {
        return host_failure(error);
    }
    if (!is_found) {
        return failure("abort", text("no counter is running: call `count` first"));
    }
    if (!process_stop(&id, NULL, &exit, &error)) {
        return host_failure(error);
    }
    return success(text(exit.signal.is_some ? "\"ended by a signal\"" : "\"ended by itself\""));
}

void exports_guest_astrid_hook_trigger(guest_string_t *action, guest_list_u8_t *payload, guest_capsule_result_t *result) {
    (void)payload;
    answer_t answer;
    if (is(*action, "hello")) {
        answer = hello();
    } else if (is(*action, "kernel")) {
        answer = kernel();
    } else if (is(*action, "count")) {
        answer = count();
    } else if (is(*action, "stop")) {
        answer = stop();
    } else {
        answer = failure("deny", join(text("there is no action "), *action));
    }
    // The caller frees what it gets.
    guest_string_dup(&result->action, answer.verdict);
    result->data.is_some = true;
    result->data.val = join(answer.json, text(""));
}
