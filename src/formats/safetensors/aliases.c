/*
 * aliases.c - the names that other programs give to the tensors of a DCGAN
 */
#include "aliases.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PARTS_MAX 16

/* A name, cut at its dots. */
typedef struct parts {
    size_t count;
    char *part[PARTS_MAX];
    char text[SAFETENSORS_NAME_SIZE];
} parts;

/* Modules that only wrap another one. */
static const char *const wrappers[] = {"module", "_orig_mod", "_fsdp_wrapped_module",
                                       "_checkpoint_wrapped_module"};

static const char *const generators[] = {"generator", "netg", "net_g", "gen", "g"};
static const char *const discriminators[] = {"discriminator", "netd", "net_d", "disc", "dis", "d"};

#define IS_ONE_OF(part, list) is_one_of(part, list, sizeof(list) / sizeof *(list))

static bool is_one_of(const char *part, const char *const *list, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(part, list[i]) == 0)
            return true;
    return false;
}

/* Cuts a name at its dots, without wrappers; false if it has too many parts to be one of ours. */
static bool cut(parts *p, const char *name) {
    char *next = p->text;

    p->count = 0;
    snprintf(p->text, sizeof p->text, "%s", name);
    while (next != NULL) {
        char *part = next, *dot = strchr(next, '.');

        if (dot != NULL)
            *dot = '\0';
        next = dot != NULL ? dot + 1 : NULL;
        if (is_one_of(part, wrappers, sizeof wrappers / sizeof *wrappers))
            continue;
        if (p->count == PARTS_MAX)
            return false;
        p->part[p->count++] = part;
    }
    return true;
}

/* Names the network that a part stands for; NULL if it stands for none. */
static const char *network_of(const char *part) {
    return IS_ONE_OF(part, generators)       ? "generator"
           : IS_ONE_OF(part, discriminators) ? "discriminator"
                                             : NULL;
}

static bool is_number(const char *part) {
    return part[0] != '\0' && part[strspn(part, "0123456789")] == '\0';
}

/* Tells whether a tensor is one of the optimiser's moments, whose names begin with two parts of
 * their own. */
static bool is_moment(const parts *p) {
    return p->count > 2 && strcmp(p->part[0], "optimizer") == 0;
}

/* Finds the part that names the network, or returns the number of parts if none does. The parts
 * before it are the prefix. */
static size_t find_network(const parts *p, char prefix[SAFETENSORS_NAME_SIZE]) {
    size_t used = 0;

    prefix[0] = '\0';
    for (size_t i = is_moment(p) ? 2 : 0; i + 2 < p->count; i++) {
        if (network_of(p->part[i]) != NULL)
            return i;
        used += (size_t)snprintf(prefix + used, SAFETENSORS_NAME_SIZE - used, "%s.", p->part[i]);
    }
    return p->count;
}

/* Finds the prefix that all names have before the network; if prefixes differ, none is allowed. */
static void find_prefix(const safetensors_file *file, char prefix[SAFETENSORS_NAME_SIZE]) {
    for (size_t i = 0; i < file->tensor_count; i++) {
        char own[SAFETENSORS_NAME_SIZE] = "";
        parts p;

        if (!cut(&p, file->tensors[i].name) || find_network(&p, own) == p.count ||
            (i > 0 && strcmp(own, prefix) != 0)) {
            prefix[0] = '\0';
            return;
        }
        memcpy(prefix, own, sizeof own);
    }
}

/* Reads the parts as [VECTOR] [PREFIX] NETWORK [LAYERS] NUMBER WHAT and writes our name for them.
 * Returns false if they are something else. */
static bool translate(const parts *p, const char *prefix, char name[SAFETENSORS_NAME_SIZE]) {
    char own[SAFETENSORS_NAME_SIZE];
    size_t network = find_network(p, own), number = p->count - 2;
    bool moment = is_moment(p);

    if (network == p->count || strcmp(own, prefix) != 0 || !is_number(p->part[number]) ||
        number > network + 2)
        return false;
    return snprintf(name, SAFETENSORS_NAME_SIZE, "%s%s%s%s.main.%s.%s", moment ? "optimizer." : "",
                    moment ? p->part[1] : "", moment ? "." : "", network_of(p->part[network]),
                    p->part[number], p->part[number + 1]) < SAFETENSORS_NAME_SIZE;
}

int checkpoint_rename(safetensors_file *file, char *error, size_t error_size) {
    char prefix[SAFETENSORS_NAME_SIZE] = "";

    find_prefix(file, prefix);
    for (size_t i = 0; i < file->tensor_count; i++) {
        safetensors_tensor *tensor = &file->tensors[i];
        char name[SAFETENSORS_NAME_SIZE];
        parts p;

        if (!cut(&p, tensor->name) || !translate(&p, prefix, name) ||
            strcmp(name, tensor->name) == 0)
            continue;
        if (safetensors_find(file, name) != NULL) {
            snprintf(error, error_size, "tensor \"%s\" would have the name of another one, \"%s\"",
                     tensor->name, name);
            return -1;
        }
        memcpy(tensor->name, name, sizeof name);
    }
    return 0;
}
