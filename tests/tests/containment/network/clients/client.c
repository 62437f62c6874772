/* Names and ports by the C library: its resolver, its sockets and its list of interfaces. */
#include <errno.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

/* Prints what came of it, and whether that took less than a second. */
static void get(const char *name, const char *port) {
    static const char request[] = "GET /word HTTP/1.1\r\n\r\n";
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    double begun = now();
    int error = getaddrinfo(name, port, &hints, &found);
    if (error) {
        printf("%s %d\n", error == EAI_NONAME ? "no name" : gai_strerror(error), now() - begun < 1);
        return;
    }
    int connection = socket(found->ai_family, found->ai_socktype, found->ai_protocol);
    if (connect(connection, found->ai_addr, found->ai_addrlen)) {
        printf("%s %d\n", errno == ECONNREFUSED ? "refused" : strerror(errno), now() - begun < 1);
        return;
    }
    char answer[1024];
    size_t length = 0;
    write(connection, request, sizeof request - 1);
    for (ssize_t part; (part = read(connection, answer + length, sizeof answer - 1 - length)) > 0;)
        length += part;
    answer[length] = 0;
    char *body = strstr(answer, "\r\n\r\n");
    printf("%s", body ? body + 4 : "no answer\n");
    close(connection);
}

int main(void) {
    struct ifaddrs *interfaces;
    get("one.example", "80");
    get("other.example", "80");
    get("one.example", "81");
    if (getifaddrs(&interfaces))
        return 1;
    printf("%s\n", interfaces->ifa_name);
    return 0;
}
