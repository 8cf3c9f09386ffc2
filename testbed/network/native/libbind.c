// Loaded before a program that would listen on all addresses and cannot be told otherwise (LD_PRELOAD): sockets bound to
// the unspecified address are bound to TESTBED_BIND, an IPv4 address, instead.
//
// Only those of the network namespace in which the program began: what it listens on in nodes' namespaces stays as asked.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

static int (*next_bind)(int, const struct sockaddr *, socklen_t);
static uint64_t home;
static struct in_addr own;
static int has_own;

static uint64_t namespace_of(int fd)
{
    uint64_t cookie = 0;
    socklen_t length = sizeof cookie;
    if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) != 0)
        return 0;
    return cookie;
}

__attribute__((constructor)) static void begin(void)
{
    next_bind = (int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "bind");
    const char *text = getenv("TESTBED_BIND");
    has_own = text != NULL && inet_pton(AF_INET, text, &own) == 1;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        home = namespace_of(fd);
        close(fd);
    }
}

int bind(int fd, const struct sockaddr *address, socklen_t length)
{
    if (next_bind == NULL)  // another library's beginning binds before ours
        begin();
    if (has_own && address != NULL && namespace_of(fd) == home) {
        if (address->sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
            struct sockaddr_in6 to;
            memcpy(&to, address, sizeof to);
            if (IN6_IS_ADDR_UNSPECIFIED(&to.sin6_addr)) {
                memset(to.sin6_addr.s6_addr + 10, 0xff, 2);  // an IPv4 address, as IPv6 writes it
                memcpy(to.sin6_addr.s6_addr + 12, &own, sizeof own);
                return next_bind(fd, (struct sockaddr *)&to, sizeof to);
            }
        } else if (address->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
            struct sockaddr_in to;
            memcpy(&to, address, sizeof to);
            if (to.sin_addr.s_addr == htonl(INADDR_ANY)) {
                to.sin_addr = own;
                return next_bind(fd, (struct sockaddr *)&to, sizeof to);
            }
        }
    }
    return next_bind(fd, address, length);
}
