/*
 * rest.h - when this program rests: on battery, and in quiet hours
 */
#ifndef GANN_REST_H
#define GANN_REST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct rest_rules {
    bool quiet; /* there are quiet hours: */
    /* minutes since midnight, local time; until may be before from: over midnight */
    int from, until;
    bool on_battery; /* work on battery, too */
} rest_rules;

/* Reads quiet hours such as "22:00-07:00"; returns false if the text is not of this form, or if the
 * hours would be empty. */
bool rest_read_hours(rest_rules *rules, const char *text);

/* Tells whether a minute of the day is in the quiet hours. */
bool rest_in_hours(const rest_rules *rules, int minute);

/*
 * Tells whether the machine runs on its battery, as Linux shows it in a folder like
 * /sys/class/power_supply: a battery is being discharged, and no source of power is connected. The
 * batteries of mice and the like don't count. This is systemd's rule.
 */
bool rest_on_battery(const char *folder);

/* Tells whether to rest now, and why, in words for people. Looks at most every two seconds. The
 * folder of power supplies is $GANN_POWER_SUPPLY if that is set. */
bool rest_due(const rest_rules *rules, char *why, size_t size);

#endif
