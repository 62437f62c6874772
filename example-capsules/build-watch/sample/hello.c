#include "hello.h"
#include <stdio.h>

void hello(const char *name) {
    int unused;
    printf("hello, %s\n", name);
}
