/*
 * plain.h - text of any origin, made fit for a terminal
 */
#ifndef GANN_PLAIN_H
#define GANN_PLAIN_H

/*
 * Replaces in place what a terminal, or a reader's eye, would take for something else: control
 * characters (C0 but for the line feed, DEL, C1), characters without width and those that change
 * the direction of writing, line and paragraph separators, and bytes that are no UTF-8. Each
 * becomes "?", a tab a space; the text gets no longer.
 */
void plain_text(char *text);

#endif
