/*
 * characters.c - which characters names and lines of text may contain
 *
 * In PostgreSQL the locale of the database decides what a letter is: in locale C only a-z are
 * letters, so a row that one database accepts might not be restored in another. CHECKs therefore
 * use the functions here. They look at Unicode characters, whatever the encoding and the locale of
 * the database.
 */
#include "module.h"

#include "common/unicode_norm.h"
#include "mb/pg_wchar.h"

typedef struct {
    pg_wchar first, last;
} range;

/* Characters that are neither letters nor digits: controls, punctuation, symbols, invisible
 * characters, private use. All others count as letters, also those of scripts that Unicode adds
 * later. */
static const range not_in_names[] = {
    {0x80, 0xA9},       {0xAB, 0xB1},       {0xB4, 0xB4},       {0xB6, 0xB8},
    {0xBB, 0xBF},       {0xD7, 0xD7},       {0xF7, 0xF7},       {0x34F, 0x34F},
    {0x37E, 0x37E},     {0x387, 0x387},     {0x55A, 0x55F},     {0x589, 0x58F},
    {0x5BE, 0x5BE},     {0x5F3, 0x60F},     {0x61B, 0x61F},     {0x66A, 0x66D},
    {0x6D4, 0x6D4},     {0x6DD, 0x6DE},     {0x700, 0x70F},     {0x890, 0x891},
    {0x8E2, 0x8E2},     {0x964, 0x965},     {0x115F, 0x1160},   {0x1680, 0x1680},
    {0x17B4, 0x17B5},   {0x1800, 0x180E},   {0x2000, 0x206F},   {0x207A, 0x207E},
    {0x208A, 0x208E},   {0x20A0, 0x20FF},   {0x2190, 0x244F},   {0x249C, 0x24B5},
    {0x2500, 0x2775},   {0x2794, 0x2BFF},   {0x2E00, 0x2E2E},   {0x2E30, 0x3004},
    {0x3008, 0x3020},   {0x3030, 0x3030},   {0x303D, 0x303F},   {0x3164, 0x3164},
    {0x3200, 0x321E},   {0x3260, 0x327F},   {0x32C0, 0x33FF},   {0x4DC0, 0x4DFF},
    {0xD800, 0xF8FF},   {0xFE00, 0xFE1F},   {0xFE30, 0xFE6F},   {0xFEFF, 0xFEFF},
    {0xFF01, 0xFF0F},   {0xFF1A, 0xFF20},   {0xFF3B, 0xFF40},   {0xFF5B, 0xFF65},
    {0xFFA0, 0xFFA0},   {0xFFE0, 0xFFFF},   {0x110BD, 0x110BD}, {0x110CD, 0x110CD},
    {0x13430, 0x1345F}, {0x1BCA0, 0x1BCA3}, {0x1D000, 0x1D2BF}, {0x1D300, 0x1D35F},
    {0x1F000, 0x1F0FF}, {0x1F200, 0x1FBEF}, {0x1FFFE, 0x1FFFF}, {0xE0000, 0x10FFFF}};

/* Marks that belong to the letter before them: no name begins with one. */
static const range marks[] = {{0x300, 0x36F}, {0x483, 0x489}, {0x1AB0, 0x1AFF}, {0x1DC0, 0x1DFF}};

/* Characters that a screen doesn't show as themselves: controls, invisible characters, and those
 * that change the direction of writing. */
static const range not_in_lines[] = {
    {0x1, 0x1F},      {0x7F, 0x9F},     {0xAD, 0xAD},     {0x61C, 0x61C},   {0x200B, 0x200F},
    {0x2028, 0x202E}, {0x2060, 0x206F}, {0xFEFF, 0xFEFF}, {0xFFF9, 0xFFFB}, {0xE0000, 0x10FFFF}};

static bool is_in(pg_wchar c, const range *ranges, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return false;
}

/* Returns the Unicode numbers of a text's characters, with a zero after them. */
static pg_wchar *unicode_of(const text *t, size_t *count) {
    const char *server = text_to_cstring(t);
    const char *utf8 = pg_server_to_any(server, (int)strlen(server), PG_UTF8);
    pg_wchar *characters = palloc((strlen(utf8) + 1) * sizeof *characters);

    *count = 0;
    for (const unsigned char *p = (const unsigned char *)utf8; *p; p += pg_utf_mblen(p))
        characters[(*count)++] = utf8_to_unicode(p);
    characters[*count] = 0;
    return characters;
}

static bool is_letter_or_digit(pg_wchar c) {
    if (c < 0x80)
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    return !is_in(c, not_in_names, lengthof(not_in_names));
}

static bool is_separator(pg_wchar c) {
    return c == ' ' || c == '.' || c == '_' || c == '-';
}

PG_FUNCTION_INFO_V1(gan_is_name);

/* Tells whether a text is a name: letters and digits of any script, and separators except at its
 * beginning. */
Datum gan_is_name(PG_FUNCTION_ARGS) {
    size_t count;
    const pg_wchar *name = unicode_of(PG_GETARG_TEXT_PP(0), &count);

    if (count < 1 || count > (size_t)Max(PG_GETARG_INT32(1), 0) || !is_letter_or_digit(name[0]) ||
        is_in(name[0], marks, lengthof(marks)))
        PG_RETURN_BOOL(false);
    for (size_t i = 1; i < count; i++)
        if (!is_letter_or_digit(name[i]) && !is_separator(name[i]))
            PG_RETURN_BOOL(false);
    PG_RETURN_BOOL(true);
}

PG_FUNCTION_INFO_V1(gan_is_line);

/* Tells whether a text is one line without hidden or misleading characters. */
Datum gan_is_line(PG_FUNCTION_ARGS) {
    size_t count;
    const pg_wchar *line = unicode_of(PG_GETARG_TEXT_PP(0), &count);

    for (size_t i = 0; i < count; i++)
        if (is_in(line[i], not_in_lines, lengthof(not_in_lines)))
            PG_RETURN_BOOL(false);
    PG_RETURN_BOOL(true);
}

/* Capitals whose small letters stand at one distance; step 2: capitals and small letters
 * alternate. */
static const struct {
    pg_wchar first, last, step;
    int distance;
} capitals[] = {{'A', 'Z', 1, 32},
                {0xC0, 0xD6, 1, 32},
                {0xD8, 0xDE, 1, 32},
                {0x100, 0x12E, 2, 1},
                {0x130, 0x130, 1, 'i' - 0x130},
                {0x132, 0x136, 2, 1},
                {0x139, 0x147, 2, 1},
                {0x14A, 0x176, 2, 1},
                {0x178, 0x178, 1, 0xFF - 0x178},
                {0x179, 0x17D, 2, 1},
                {0x386, 0x386, 1, 38},
                {0x388, 0x38A, 1, 37},
                {0x38C, 0x38C, 1, 64},
                {0x38E, 0x38F, 1, 63},
                {0x391, 0x3A1, 1, 32},
                {0x3A3, 0x3AB, 1, 32},
                {0x3C2, 0x3C2, 1, 1},
                {0x400, 0x40F, 1, 80},
                {0x410, 0x42F, 1, 32},
                {0x460, 0x480, 2, 1},
                {0x48A, 0x4BE, 2, 1},
                {0x4D0, 0x52E, 2, 1},
                {0x531, 0x556, 1, 48},
                {0x1E00, 0x1E94, 2, 1},
                {0x1EA0, 0x1EFE, 2, 1}};

static pg_wchar small_letter(pg_wchar c) {
    for (size_t i = 0; i < lengthof(capitals); i++)
        if (c >= capitals[i].first && c <= capitals[i].last &&
            (c - capitals[i].first) % capitals[i].step == 0)
            return (pg_wchar)((int)c + capitals[i].distance);
    return c;
}

PG_FUNCTION_INFO_V1(gan_name_key);

/* Returns a key that is equal for names that look alike: lower case without separators, in
 * Unicode's compatible form. It is bytes, because the database's encoding may lack a lower-case
 * letter. */
Datum gan_name_key(PG_FUNCTION_ARGS) {
    size_t count;
    pg_wchar *name = unicode_of(PG_GETARG_TEXT_PP(0), &count);
    bytea *key;
    unsigned char *to;

    name = unicode_normalize(UNICODE_NFKC, name);
    for (count = 0; name[count]; count++)
        ;
    key = palloc(VARHDRSZ + 4 * count);
    to = (unsigned char *)VARDATA(key);
    for (size_t i = 0; i < count; i++)
        if (!is_separator(name[i])) {
            unicode_to_utf8(small_letter(name[i]), to);
            to += pg_utf_mblen(to);
        }
    SET_VARSIZE(key, (char *)to - (char *)key);
    PG_RETURN_BYTEA_P(key);
}
