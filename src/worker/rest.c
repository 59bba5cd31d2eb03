/*
 * rest.c - when this program leaves the machine alone
 */
#define _POSIX_C_SOURCE 200809L

#include "rest.h"
#include "stop.h"

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

    if (at == NULL || *at != '-' || (at = read_time(at + 1, &until)) == NULL || *at != '\0' || from == until)
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

/* Reads the first word of a power supply's file; "" if there is none. */
static void read_word(const char *folder, const char *supply, const char *file, char *word, size_t size) {
    char path[512];
    FILE *in = NULL;

    word[0] = '\0';
    if (snprintf(path, sizeof path, "%s/%s/%s", folder, supply, file) < (int)sizeof path)
        in = fopen(path, "re");
    if (in == NULL)
        return;
    if (fgets(word, (int)size, in) != NULL)
        word[strcspn(word, " \t\r\n")] = '\0';
    fclose(in);
}

bool rest_on_battery(const char *folder) {
    DIR *supplies = opendir(folder);
    bool mains = false, online = false, discharging = false;
    const struct dirent *entry;

    while (supplies != NULL && (entry = readdir(supplies)) != NULL) {
        char type[32], word[32];

        if (entry->d_name[0] == '.')
            continue;
        read_word(folder, entry->d_name, "scope", word, sizeof word);
        if (strcmp(word, "Device") == 0)
            continue;
        read_word(folder, entry->d_name, "type", type, sizeof type);
        if (strcmp(type, "Mains") == 0 || strcmp(type, "USB") == 0) {
            read_word(folder, entry->d_name, "online", word, sizeof word);
            mains = mains || strcmp(type, "Mains") == 0;
            online = online || strcmp(word, "1") == 0;
        } else if (strcmp(type, "Battery") == 0) {
            read_word(folder, entry->d_name, "status", word, sizeof word);
            discharging = discharging || strcmp(word, "Discharging") == 0;
        }
    }
    if (supplies != NULL)
        closedir(supplies);
    return !online && (mains || discharging);
}

/* Looks at the clock and at the power supplies. */
static bool look(const rest_rules *rules, char *why, size_t size) {
    const char *folder = getenv("GANN_POWER_SUPPLY");
    time_t now = time(NULL);
    struct tm local;

    if (rules->quiet && localtime_r(&now, &local) != NULL &&
        rest_in_hours(rules, local.tm_hour * 60 + local.tm_min)) {
        snprintf(why, size, "resting until %02d:%02d: these are the quiet hours", rules->until / 60 % 24,
                 rules->until % 60);
        return true;
    }
    if (!rules->on_battery && rest_on_battery(folder != NULL ? folder : "/sys/class/power_supply")) {
        snprintf(why, size, "resting until the machine is plugged in (--on-battery works on battery, too)");
        return true;
    }
    return false;
}

bool rest_due(const rest_rules *rules, char *why, size_t size) {
    static double looked = -LOOK_SECONDS;
    static bool due;
    static char reason[100];

    if (stop_clock() >= looked + LOOK_SECONDS) {
        looked = stop_clock();
        due = look(rules, reason, sizeof reason);
    }
    if (due)
        snprintf(why, size, "%s", reason);
    return due;
}
