/*
 * login.c - checks the names of students' logins, and computes the stored form of passwords
 */
#include "module.h"

#include "mb/pg_wchar.h"

/* Copied from libpq/scram.h, which includes Kerberos' headers; Debian has those in another
 * package. */
extern char *pg_be_scram_build_secret(const char *password);

/* Outside ASCII, characters that are not shown as themselves: controls, invisible characters, those
 * that change the direction of writing, and unusual spaces. */
static const struct {
    pg_wchar first, last;
} hidden[] = {{0x80, 0xA0},       {0xAD, 0xAD},     {0x34F, 0x34F},   {0x61C, 0x61C},
              {0x115F, 0x1160},   {0x1680, 0x1680}, {0x17B4, 0x17B5}, {0x180B, 0x180F},
              {0x2000, 0x206F},   {0x3000, 0x3000}, {0x3164, 0x3164}, {0xE000, 0xF8FF},
              {0xFE00, 0xFE0F},   {0xFEFF, 0xFEFF}, {0xFFA0, 0xFFA0}, {0xFFF0, 0xFFFF},
              {0xE0000, 0x10FFFF}};

static bool is_fine_in_login(pg_wchar c) {
    if (c < 0x80)
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
               (c != 0 && strchr(" _.@+-", (int)c) != NULL);
    for (size_t i = 0; i < lengthof(hidden); i++)
        if (c >= hidden[i].first && c <= hidden[i].last)
            return false;
    return true;
}

PG_FUNCTION_INFO_V1(gan_is_login);

/* Tells whether a text can be a login: 1 to 63 bytes, the first character a letter, a digit or not
 * ASCII, no space at the end. It follows Unicode, whatever the locale and the encoding of the
 * database. */
Datum gan_is_login(PG_FUNCTION_ARGS) {
    const char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
    size_t length = strlen(name);
    const unsigned char *utf8 = (const unsigned char *)pg_server_to_any(name, (int)length, PG_UTF8);

    if (length == 0 || length >= NAMEDATALEN || strchr(" _.@+-", name[0]) ||
        name[length - 1] == ' ')
        PG_RETURN_BOOL(false);
    for (; *utf8; utf8 += pg_utf_mblen(utf8))
        if (!is_fine_in_login(utf8_to_unicode(utf8)))
            PG_RETURN_BOOL(false);
    PG_RETURN_BOOL(true);
}

PG_FUNCTION_INFO_V1(gan_scram_verifier);

/* Returns the form in which the server stores a password. So the statement that stores it contains
 * the verifier and not the password: statements appear in the log, in pg_stat_statements and in
 * pg_stat_activity. */
Datum gan_scram_verifier(PG_FUNCTION_ARGS) {
    char *password = text_to_cstring(PG_GETARG_TEXT_PP(0));
    char *verifier = pg_be_scram_build_secret(password);

    explicit_bzero(password, strlen(password));
    PG_RETURN_TEXT_P(cstring_to_text(verifier));
}
