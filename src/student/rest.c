/*
 * rest.c - when this program rests
 */
#define _POSIX_C_SOURCE 200809L

#include "rest.h"
#include "../common/clock.h"
#include "../common/stop.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOOK_SECONDS 2.0

/* Reads "hh:mm" and returns what follows; NULL if it is no time of day. */
static const char *read_time(const char *text, int *minute) {
    static const char digits[] = "0123456789";
    int hours, minutes;

    for (int i = 0; i < 5; i++)
        if (i == 2 ? text[i] != ':' : text[i] == '\0' || strchr(digits, text[i]) == NULL)
            return NULL;
    hours = (text[0] - '0') * 10 + text[1] - '0';
    minutes = (text[3] - '0') * 10 + text[4] - '0';
    *minute = hours * 60 + minutes;
    return minutes < 60 && (hours < 24 || (hours == 24 && minutes == 0)) ? text + 5 : NULL;
}

bool rest_read_hours(rest_rules *rules, const char *text) {
    int from, until;
    const char *at = read_time(text, &from);

    if (at == NULL || *at != '-' || (at = read_time(at + 1, &until)) == NULL || *at != '\0' ||
        from == until)
        return false;
    rules->quiet = true;
    rules->from = from;
    rules->until = until;
    return true;
}

bool rest_in_hours(const rest_rules *rules, int minute) {
    if (!rules->quiet)
        return false;
    if (rules->from < rules->until)
        return minute >= rules->from && minute < rules->until;
    return minute >= rules->from || minute < rules->until;
}

/* Reads the first line of a power supply's file; "" if there is none. */
static void read_line(const char *folder, const char *supply, const char *file, char *line,
                      size_t size) {
    char path[1024];
    FILE *in = NULL;

    line[0] = '\0';
    if (snprintf(path, sizeof path, "%s/%s/%s", folder, supply, file) < (int)sizeof path)
        in = fopen(path, "re");
    if (in == NULL)
        return;
    if (fgets(line, (int)size, in) == NULL)
        line[0] = '\0';
    fclose(in);
}

/* The same, but only its first word. */
static void read_word(const char *folder, const char *supply, const char *file, char *word,
                      size_t size) {
    read_line(folder, supply, file, word, size);
    word[strcspn(word, " \t\r\n")] = '\0';
}

/* Tells whether a USB port supplies power instead of taking it: then it charges a telephone, say. A
 * port that says nothing takes power. */
static bool gives_power(const char *folder, const char *supply) {
    char path[512], role[32];
    bool gives = false, takes = false;
    const struct dirent *port;
    DIR *ports = NULL;

    if (snprintf(path, sizeof path, "%s/%s/device/typec", folder, supply) < (int)sizeof path)
        ports = opendir(path);
    while (ports != NULL && (port = readdir(ports)) != NULL) {
        if (port->d_name[0] == '.')
            continue;
        read_line(path, port->d_name, "power_role", role, sizeof role);
        gives = gives || strstr(role, "[source]") != NULL;
        takes = takes || strstr(role, "[sink]") != NULL;
    }
    if (ports != NULL)
        closedir(ports);
    return gives && !takes;
}

/* Tells whether a battery is there and loses charge. A missing answer counts as "no". */
static bool is_discharging(const char *folder, const char *supply) {
    char word[32];

    read_word(folder, supply, "present", word, sizeof word);
    if (strcmp(word, "0") == 0)
        return false;
    read_word(folder, supply, "status", word, sizeof word);
    return strcmp(word, "Discharging") == 0;
}

/* Tells whether a source of power is connected: 1, or 2 where its voltage can be set. */
static bool is_online(const char *folder, const char *supply) {
    char word[32];

    read_word(folder, supply, "online", word, sizeof word);
    return strcmp(word, "1") == 0 || strcmp(word, "2") == 0;
}

/* The rule of systemd's on_ac_power(). */
bool rest_on_battery(const char *folder) {
    DIR *supplies = opendir(folder);
    bool online = false, discharging = false;
    const struct dirent *entry;

    while (supplies != NULL && (entry = readdir(supplies)) != NULL) {
        char type[32], scope[32];

        read_word(folder, entry->d_name, "scope", scope, sizeof scope);
        read_word(folder, entry->d_name, "type", type, sizeof type);
        if (entry->d_name[0] == '.' || strcmp(scope, "Device") == 0) /* a mouse's */
            continue;
        if (strcmp(type, "Battery") == 0)
            discharging = discharging || is_discharging(folder, entry->d_name);
        else if (strcmp(type, "USB") != 0 || !gives_power(folder, entry->d_name))
            online = online || is_online(folder, entry->d_name);
    }
    if (supplies != NULL)
        closedir(supplies);
    return discharging && !online;
}

/* Looks at the clock and at the power supplies. */
static bool look(const rest_rules *rules, char *why, size_t size) {
    const char *folder = getenv("GANN_POWER_SUPPLY");
    time_t now = time(NULL);
    struct tm local;

    if (rules->quiet && localtime_r(&now, &local) != NULL &&
        rest_in_hours(rules, local.tm_hour * 60 + local.tm_min)) {
        snprintf(why, size, "resting until %02d:%02d: these are the quiet hours",
                 rules->until / 60 % 24, rules->until % 60);
        return true;
    }
    if (!rules->on_battery &&
        rest_on_battery(folder != NULL ? folder : "/sys/class/power_supply")) {
        snprintf(why, size,
                 "resting until the machine is plugged in (--on-battery works on battery, too)");
        return true;
    }
    return false;
}

bool rest_due(const rest_rules *rules, char *why, size_t size) {
    static double looked = -LOOK_SECONDS;
    static bool due;
    static char reason[100];

    if (clock_now() >= looked + LOOK_SECONDS) {
        looked = clock_now();
        due = look(rules, reason, sizeof reason);
    }
    if (due)
        snprintf(why, size, "%s", reason);
    return due;
}
