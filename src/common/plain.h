/*
 * plain.h - text of any origin, made fit for a terminal
 */
#ifndef GANN_PLAIN_H
#define GANN_PLAIN_H

/*
 * Replaces in place everything that could mislead a terminal or a reader: control characters (C0
 * except the line feed, DEL, C1), characters without width and those that change the direction of
 * writing, line and paragraph separators, and bytes that are not UTF-8. Each becomes "?", a tab
 * becomes a space; the text never gets longer.
 */
void plain_text(char *text);

#endif
